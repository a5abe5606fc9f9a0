"""Measurements against the outside; PyTorch is an oracle here, never a dependency of the package."""
