"""A forward model as the exporter sees it."""

from dataclasses import dataclass

import onnx

from export.graph.builder import Array, Value

OLDEST = 18
"""Operator set the graphs are written for; older models are converted up to it first."""


@dataclass(frozen=True)
class Model:
    """A classifier: input (N, *shape) -> logits (N, classes).

    parameters: by name, in the model's order. constants: the other initializers.
    """

    name: str
    opset: int
    nodes: tuple[onnx.NodeProto, ...]
    input: Value
    shape: tuple[int, ...]
    output: Value
    parameters: dict[str, Array]
    constants: dict[str, Array]
    trainable: frozenset[str] | None = None
    """which parameters are trained; all of them if None (`export.transforms.trainable` chooses)"""
    statistics: frozenset[str] = frozenset()
    """parameters that a step measures rather than trains: running means and variances"""
    heads: tuple[Value, ...] = ()
    """logits of auxiliary heads (N, classes), beside the main head's `output`"""
    embedding: Value | None = None
    """a value that `predict` gives too, (N, ...)"""
    exported_batch: int | None = None
    """the number of samples its input was fixed at, if it was; the exporter frees it"""
    notes: tuple[str, ...] = ()
    """what was changed on the way in, one sentence each"""

    def trains(self, name: str) -> bool:
        """Whether the parameter is trained."""
        return name not in self.statistics and (self.trainable is None or name in self.trainable)

    @property
    def outputs(self) -> tuple[Value, ...]:
        """All that the model computes for somebody."""
        return (self.output, *self.heads, *([self.embedding] if self.embedding else []))
