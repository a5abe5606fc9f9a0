"""Murmur on the device: train locally, tell the neighbours what you believe, learn from what they say."""
