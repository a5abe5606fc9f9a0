"""The form in which the exporter holds a forward model."""

from dataclasses import dataclass

import onnx

from edge import bundle
from edge.standardization import Standardization
from export.graph.builder import Array, Value

OLDEST = 18
"""The oldest operator set that graphs are written for; older models are converted to it first."""

PASSED_ON = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose")
"""operators behind which token numbers are still the same"""


@dataclass(frozen=True)
class Input:
    """What the caller gives for each sample."""

    name: Value
    shape: tuple[int, ...]
    """of one sample"""
    dtype: str = "float32"
    """or "int64": token numbers"""


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
    dtype: str = "float32"
    """of the input; "int64" for token numbers"""
    others: tuple[Input, ...] = ()
    """further inputs, with as many samples"""

    def trains(self, name: str) -> bool:
        """Whether a parameter is trained."""
        return name not in self.statistics and (self.trainable is None or name in self.trainable)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """All inputs, the main one first."""
        return (Input(self.input, self.shape, self.dtype), *self.others)

    @property
    def outputs(self) -> tuple[Value, ...]:
        """All values that the model computes for its caller."""
        return (self.output, *self.heads, *([self.embedding] if self.embedding else []))


def vocabularies(model: Model) -> dict[str, int]:
    """Find how many tokens a model knows.

    Args:
        model: the model.

    Returns:
        By the public name of each input that looks rows up in a table: the rows of the smallest one.
    """
    tables = {**model.parameters, **model.constants}
    source = dict(zip((x.name for x in model.inputs), public(model), strict=True))
    sizes: dict[str, int] = {}
    for node in model.nodes:
        if node.op_type in PASSED_ON and node.input[0] in source:
            source[node.output[0]] = source[node.input[0]]
        if node.op_type == "Gather" and node.input[1] in source and node.input[0] in tables:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
            name, size = source[node.input[1]], tables[node.input[0]].shape[axis]
            sizes[name] = min(size, sizes.get(name, size))
    return sizes


def public(model: Model) -> list[str]:
    """Name a model's inputs as a bundle does: "x" the first, "x/NAME" the others."""
    return ["x", *(f"{bundle.INPUT}{x.name}" for x in model.others)]
