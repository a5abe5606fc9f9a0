"""Append layers by name, with seeded initial values."""

from collections.abc import Sequence
from math import prod, sqrt

import numpy as np

from export.errors import ExportError
from export.graph.builder import Array, GraphBuilder, Value
from export.graph.node import with_names
from export.model import OLDEST, Model

Pads = int | Sequence[int]


class Layers:
    """A model under construction: every method appends a layer and returns its output.

    Sizes that have one number for all spatial axes may be given as that number.

    Args:
        shape: of one sample, channels first.
        classes: how many logits the model gives.
        seed: of the initial values.
    """

    def __init__(self, shape: Sequence[int], classes: int, seed: int) -> None:
        self.input = "input"
        self.sample = tuple(shape)
        self.classes = classes
        self.op = GraphBuilder(OLDEST)
        self.op.argument(self.input, np.float32, ["N", *shape])
        self._random = np.random.default_rng(seed)
        self._parameters: dict[str, Array] = {}
        self._statistics: set[str] = set()
        self._names: dict[Value, str] = {}

    def shape(self, x: Value) -> tuple[int, ...]:
        """The shape of one sample at this point."""
        return tuple(d for d in self.op.shape(x)[1:] if d is not None)

    def call(self, x: Value, name: str) -> Value:
        """Give `x` a name that `--split-at` and `--embedding` can refer to."""
        self._names[x] = name
        return x

    def flatten(self, x: Value) -> Value:
        """(N, ...) -> (N, features)."""
        return x if len(self.shape(x)) == 1 else self.op("Flatten", x)

    def linear(self, x: Value, features: int, name: str) -> Value:
        """Weight (features, inputs), bias (features,); for tokens (N, T, inputs) the weight is (inputs, features)."""
        *tokens, inputs = self.shape(x)
        bound = 1 / sqrt(inputs)
        shape = (inputs, features) if tokens else (features, inputs)
        weight = self.parameter(f"{name}.weight", self.uniform(shape, bound))
        bias = self.parameter(f"{name}.bias", self.uniform((features,), bound))
        return (
            self.op("Add", self.op("MatMul", x, weight), bias) if tokens else self.op("Gemm", x, weight, bias, transB=1)
        )

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: Pads,
        name: str,
        *,
        pad: Pads = 0,
        stride: Pads = 1,
        dilation: Pads = 1,
        group: int = 1,
        bias: bool = True,
    ) -> Value:
        """Filters (channels, inputs / group, *kernel); `pad` one number, or all begins, then all ends."""
        inputs, *space = self.shape(x)
        n = len(space)
        if n not in (1, 2):
            raise ExportError(
                f"layer '{name}' needs (channels, height, width) or (channels, time); got {self.shape(x)}"
            )
        kernels, strides, dilations, pads = _each(kernel, n), _each(stride, n), _each(dilation, n), _each(pad, 2 * n)
        for axis, size in enumerate(space):
            if size + pads[axis] + pads[n + axis] < (kernels[axis] - 1) * dilations[axis] + 1:
                raise ExportError(f"layer '{name}' has windows of {kernels}; its input {self.shape(x)} is too small")
        filters = (channels, inputs // group, *kernels)
        bound = 1 / sqrt(prod(filters[1:]))
        weights = [self.parameter(f"{name}.weight", self.uniform(filters, bound))]
        if bias:
            weights.append(self.parameter(f"{name}.bias", self.uniform((channels,), bound)))
        return self.op("Conv", x, *weights, pads=pads, strides=strides, dilations=dilations, group=group)

    def batch_norm(self, x: Value, name: str) -> Value:
        """Scale 1, bias 0, running mean 0 and variance 1; over the batch's own statistics while training."""
        C = self.shape(x)[0]
        start = {"scale": 1.0, "bias": 0.0, "mean": 0.0, "variance": 1.0}
        values = [self.parameter(f"{name}.{k}", np.full(C, v, np.float32)) for k, v in start.items()]
        self._statistics.update(values[2:])
        return self.op("BatchNormalization", x, *values, training_mode=1, outputs=3)

    def relu(self, x: Value) -> Value:
        """max(x, 0)."""
        return self.op("Relu", x)

    def max_pool(self, x: Value, size: int) -> Value:
        """Windows of size x size, side by side."""
        if min(self.shape(x)[1:]) < size:
            raise ExportError(f"images of {self.shape(x)[1:]} are too small for the model's {size}x{size} pooling")
        return self.op("MaxPool", x, kernel_shape=[size] * 2, strides=[size] * 2)

    def average(self, x: Value) -> Value:
        """(N, C, ...) -> (N, C), the mean over space or time."""
        return self.op("Flatten", self.op("GlobalAveragePool", x))

    def parameter(self, name: str, value: Array) -> Value:
        """A parameter with its initial value."""
        self._parameters[name] = value.astype(np.float32)
        return self.op.argument(name, np.float32, value.shape)

    def uniform(self, shape: Sequence[int], bound: float) -> Array:
        """Draw initial values, uniform between -bound and bound."""
        return self._random.uniform(-bound, bound, prod(shape)).reshape(shape)

    def finish(self, name: str, logits: Value) -> Model:
        """Finish the model, whose output is `logits`."""
        return Model(
            name=name,
            opset=OLDEST,
            nodes=tuple(with_names(node, self._names) for node in self.op.nodes),
            input=self.input,
            shape=self.sample,
            output=self._names.get(logits, logits),
            parameters=self._parameters,
            constants=dict(self.op.constants),
            statistics=frozenset(self._statistics),
        )


def _each(sizes: Pads, n: int) -> list[int]:
    return [sizes] * n if isinstance(sizes, int) else list(sizes)
