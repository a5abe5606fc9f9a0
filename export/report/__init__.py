"""What a bundle holds and what it costs."""
