"""Measurements against the outside; PyTorch is an oracle here, never a dependency of the package."""

from edge import process

process.use_one_thread()  # before anything else, as libraries read it when they are loaded
