"""Data sets, one loader a file: `digits`, `npz:PATH`, `idx:DIR`.

A loader has `load(argument, seed) -> Dataset`; the argument is what follows the colon.
"""

from edge.data._dataset import Dataset, load, some, take_reference

__all__ = ["Dataset", "load", "some", "take_reference"]
