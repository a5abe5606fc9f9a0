"""Runtimes that execute a bundle's training step, one a file."""
