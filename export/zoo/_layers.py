"""Layers by name, appended one after another, with their seeded starting values."""

from collections.abc import Sequence
from math import prod, sqrt

import numpy as np

from export.errors import ExportError
from export.model import OLDEST, Model
from export.ops import Array, Ops, Value


class Layers:
    """A model under construction: every method appends a layer and returns its output."""

    def __init__(self, shape: Sequence[int], classes: int, seed: int) -> None:
        self.input = "input"
        self.sample = tuple(shape)
        self.classes = classes
        self._ops = Ops(OLDEST)
        self._ops.argument(self.input, np.float32, ["N", *shape])
        self._random = np.random.default_rng(seed)
        self._parameters: dict[str, Array] = {}

    def shape(self, x: Value) -> tuple[int, ...]:
        """Of one sample at this point."""
        return tuple(d for d in self._ops.shape(x)[1:] if d is not None)

    def flatten(self, x: Value) -> Value:
        """(N, ...) -> (N, features)."""
        return x if len(self.shape(x)) == 1 else self._ops("Flatten", x)

    def linear(self, x: Value, features: int, name: str) -> Value:
        """Weight (features, inputs), bias (features,)."""
        (inputs,) = self.shape(x)
        weight = self._uniform(f"{name}.weight", (features, inputs), inputs)
        bias = self._uniform(f"{name}.bias", (features,), inputs)
        return self._ops("Gemm", x, weight, bias, transB=1)

    def conv(self, x: Value, channels: int, kernel: int, name: str, *, pad: int = 0, stride: int = 1) -> Value:
        """Square filters (channels, inputs, kernel, kernel) and a bias."""
        inputs, *space = self.shape(x)
        if len(space) != 2 or min(space) + 2 * pad < kernel:
            raise ExportError(
                f"layer '{name}' needs images (channels, height, width) of at least {kernel}; got {self.shape(x)}"
            )
        fan_in = inputs * kernel * kernel
        weight = self._uniform(f"{name}.weight", (channels, inputs, kernel, kernel), fan_in)
        bias = self._uniform(f"{name}.bias", (channels,), fan_in)
        return self._ops("Conv", x, weight, bias, pads=[pad] * 4, strides=[stride] * 2)

    def relu(self, x: Value) -> Value:
        """max(x, 0)."""
        return self._ops("Relu", x)

    def max_pool(self, x: Value, size: int) -> Value:
        """Windows of size x size, side by side."""
        if min(self.shape(x)[1:]) < size:
            raise ExportError(f"images of {self.shape(x)[1:]} are too small for the model's {size}x{size} pooling")
        return self._ops("MaxPool", x, kernel_shape=[size] * 2, strides=[size] * 2)

    def finish(self, name: str, logits: Value) -> Model:
        """The model, whose output is `logits`."""
        return Model(
            name=name,
            opset=OLDEST,
            nodes=tuple(self._ops.nodes),
            input=self.input,
            shape=self.sample,
            output=logits,
            parameters=self._parameters,
            constants=dict(self._ops.constants),
        )

    def _uniform(self, name: str, shape: tuple[int, ...], fan_in: int) -> Value:
        bound = 1 / sqrt(fan_in)
        self._parameters[name] = self._random.uniform(-bound, bound, prod(shape)).reshape(shape).astype(np.float32)
        return self._ops.argument(name, np.float32, shape)
