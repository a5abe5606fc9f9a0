"""Compiled operators, where the optional package `murmur-kernels` is installed; without it nothing changes.

The bundle holds one standard graph. Where the package is there, that graph is rewritten when a session opens.
"""

import importlib
import os
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType

from edge.errors import FallbackWarning

PACKAGE, VERSION, SWITCH = "murmur_kernels", 1, "MURMUR_KERNELS"
"""VERSION: of the package's operators. SWITCH: environment variable; with the value "off" the package is not used"""


@cache
def library() -> Path | None:
    """The shared library with the operators; None if there is none, and one line if there is one that does not fit."""
    if os.environ.get(SWITCH, "") == "off":
        return None
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError:
        return None
    try:
        if package.VERSION != VERSION:
            raise OSError(f"they are of version {package.VERSION}, this engine needs {VERSION}")
        path: Path = package.library()
    except (ImportError, OSError, AttributeError) as reason:
        text = f"the compiled kernels are not used: {reason}; training works as without them"
        warnings.warn(text, FallbackWarning, stacklevel=2)
        return None
    return path


def rewritten(model: bytes) -> bytes:
    """The same graph with the operators of `library` in it; itself if it has none of their patterns."""
    package: ModuleType = importlib.import_module(PACKAGE)
    try:
        graph: bytes = package.rewritten(model)
    except ValueError:  # the runtime will say what is wrong with the file
        return model
    return graph
