"""Murmur on the device: train locally, send soft labels to the neighbours, learn from theirs.

`Trainer` and `Node` are for applications (docs/application.md). They are imported when they are first asked for, so
that `edge-node` and others pay nothing for them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.application import Node as Node
    from edge.application import Trainer as Trainer

_LATER = ("Node", "Trainer")


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module("edge.application"), name)
    raise AttributeError(f"module 'edge' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
