"""The form in which the exporter holds a forward model."""

from dataclasses import dataclass

import onnx

from edge.standardization import Standardization
from export.graph.builder import Array, Value

OLDEST = 18
"""The oldest operator set that graphs are written for; older models are converted to it first."""


@dataclass(frozen=True)
class Model:
    """Input (N, *shape) -> logits (N, K), or (N, K, ...) with a label for each position."""

    name: str
    opset: int
    nodes: tuple[onnx.NodeProto, ...]
    input: Value
    shape: tuple[int, ...]
    """of one sample"""
    output: Value
    """the main head's logits"""
    parameters: dict[str, Array]
    """initial values by name, in the model's order"""
    constants: dict[str, Array]
    """all other values that the nodes read"""
    trainable: frozenset[str] | None = None
    """the parameters that are trained; None for all (`export.transforms.trainable` chooses)"""
    statistics: frozenset[str] = frozenset()
    """parameters that a step measures rather than trains: running means and variances"""
    heads: tuple[Value, ...] = ()
    """logits of auxiliary heads, of the same shape"""
    task: str | None = None
    """what it is for (`edge.task`), where that is known: its graph shows it, or somebody named it"""
    embedding: Value | None = None
    """a value (N, ...) that `predict` gives too"""
    standardization: Standardization | None = None
    """what its first nodes do to the input (`export.transforms.standardize`)"""
    notes: tuple[str, ...] = ()
    """what was changed on the way in, one sentence each"""

    def trains(self, name: str) -> bool:
        """Whether a parameter is trained."""
        return name not in self.statistics and (self.trainable is None or name in self.trainable)

    @property
    def outputs(self) -> tuple[Value, ...]:
        """All values that the model computes for its caller."""
        return (self.output, *self.heads, *([self.embedding] if self.embedding else []))
