"""Murmur on the device: train locally, send soft labels to the neighbours, learn from theirs."""
