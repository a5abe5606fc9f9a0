"""Ways to move bytes between neighbours, one a file."""
