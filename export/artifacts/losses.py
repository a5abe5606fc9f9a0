"""The losses of the training artifacts, each the mean over all rows and outputs."""

from collections.abc import Callable
from enum import Enum

from onnx import TensorProto

from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value


class LossType(Enum):
    """A loss that `generate_artifacts` appends to a model."""

    MSELoss = 1
    CrossEntropyLoss = 2
    BCEWithLogitsLoss = 3
    L1Loss = 4


def _mean_squared_error(op: GraphBuilder, output: Value, target: Value) -> Value:
    error = op("Sub", output, target)
    return op("ReduceMean", op("Mul", error, error), keepdims=0)


def _cross_entropy(op: GraphBuilder, output: Value, labels: Value) -> Value:
    return op("SoftmaxCrossEntropyLoss", output, labels, outputs=2)


def _binary_cross_entropy(op: GraphBuilder, output: Value, target: Value) -> Value:
    """softplus(z) - y z, which has finite values for every z, as -y log p - (1 - y) log(1 - p) has not."""
    return op("ReduceMean", op("Sub", op("Softplus", output), op("Mul", target, output)), keepdims=0)


def _mean_absolute_error(op: GraphBuilder, output: Value, target: Value) -> Value:
    return op("ReduceMean", op("Abs", op("Sub", output, target)), keepdims=0)


LOSSES: dict[LossType, Callable[[GraphBuilder, Value, Value], Value]] = {
    LossType.MSELoss: _mean_squared_error,
    LossType.CrossEntropyLoss: _cross_entropy,
    LossType.BCEWithLogitsLoss: _binary_cross_entropy,
    LossType.L1Loss: _mean_absolute_error,
}
"""loss(op, output, target) -> a scalar"""

CLASSES = {LossType.CrossEntropyLoss}
"""losses whose target is the number of a class, int64 of the output's shape without the axis of the classes"""


def target_name(loss: LossType) -> str:
    """What the input is called that the loss compares with."""
    return "labels" if loss in CLASSES else "target"


def declare_target(op: GraphBuilder, loss: LossType, output: Value, name: Value) -> Value:
    """Declare that input, of the output's shape (N, K, ...), or (N, ...) for classes. Returns it."""
    if loss in CLASSES and len(op.shape(output)) < 2:
        raise ExportError(f"{loss.name} takes (N, K, ...); '{output}' is {list(op.shape(output))}")
    target = op.types[name] = type(op.types[output])()
    target.CopyFrom(op.types[output])
    if loss in CLASSES:
        target.tensor_type.elem_type = TensorProto.INT64
        del target.tensor_type.shape.dim[1]
    return name
