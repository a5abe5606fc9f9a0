"""Message <-> bytes: a header, and one body coding a file."""
