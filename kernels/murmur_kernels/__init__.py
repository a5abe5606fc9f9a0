"""Compiled operators for ONNX Runtime that Murmur's engine uses where they are installed.

`library` gives the path of the shared library for this machine, `rewritten` a standard training graph with the
operators in it. Nothing else is needed at run time.
"""

import ctypes
import platform
from pathlib import Path

from murmur_kernels.rewrite import rewritten

__all__ = ["VERSION", "library", "rewritten"]
VERSION = 1
"""of the operators' names, inputs and attributes"""


def library() -> Path:
    """Return the path of the library.

    Raises:
        OSError: there is none for this machine, it is of another version, or this processor cannot run it.
    """
    path = Path(__file__).parent / f"murmur_kernels-{platform.machine()}.so"
    if not path.is_file():
        raise OSError(f"no {path.name} in {path.parent}")
    opened = ctypes.CDLL(str(path))
    if (version := opened.murmur_kernels_version()) != VERSION:
        raise OSError(f"{path.name} is of version {version}, expected {VERSION}")
    opened.murmur_kernels_refusal.restype = ctypes.c_char_p
    if refusal := opened.murmur_kernels_refusal():
        raise OSError(refusal.decode())
    return path
