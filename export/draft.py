"""A model on its way through the steps of `export.load`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import onnx

from export.graph.builder import Value


@dataclass(frozen=True)
class Draft:
    """What is known of a model after some of the steps."""

    proto: onnx.ModelProto
    name: str
    origin: str
    """the file, for messages"""
    logits: Value | None
    """the value to train, once it is known"""
    keep_ties: bool = False
    """whether an initializer that several nodes read is one parameter"""
    task: str | None = None
    """what the model is for, where somebody said it or its last node shows it"""
    dims: Mapping[str, int] = field(default_factory=dict)
    """sizes of free axes, by name"""
    repeated: frozenset[Value] = frozenset()
    """initializers and constants that every pass of a loop reads"""
    shape: tuple[int, ...] | None = None
    """of a sample, where somebody said it"""
    notes: tuple[str, ...] = ()
    """what was changed, one sentence each"""

    def noted(self, note: str, **changes: onnx.ModelProto | Value | frozenset[Value]) -> "Draft":
        """The draft with changes, and a note that says so."""
        return replace(self, notes=(*self.notes, note), **changes)  # type: ignore[arg-type]
