"""The same model in PyTorch: an outside opinion on gradients, and the reference for speed.

Convolutions, normalizations, recurrent layers and products call the functions PyTorch's own modules
call; a whole transformer block uses its fused attention and GELU, as a PyTorch user would write it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from onnx import helper

from edge.interfaces import Array
from export.model import Model

Tensor = Any


class Twin:
    """Calls the model on a batch (N, ...) -> logits (N, K); parameters are leaves that take gradients."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.values: dict[str, Tensor] = {k: torch.from_numpy(np.array(v)) for k, v in model.constants.items()}
        for name, value in model.parameters.items():
            self.values[name] = torch.from_numpy(value.copy()).requires_grad_(model.trains(name))
        self.training = True
        self._nodes = [(n, {a.name: helper.get_attribute_value(a) for a in n.attribute}) for n in model.nodes]
        self._whole = WHOLE.get(model.name)

    def parameters(self) -> list[Tensor]:
        """Return the trained parameters, in the model's order."""
        return [self.values[name] for name in self.model.parameters if self.model.trains(name)]

    def channels_last(self) -> None:
        """Store the filters of images channels last, as PyTorch's guide advises on processors."""
        for name, value in self.values.items():
            if value.dim() == 4:
                moved = value.detach().contiguous(memory_format=torch.channels_last)
                self.values[name] = moved.requires_grad_(value.requires_grad)

    def load(self, parameters: Mapping[str, Array]) -> None:
        """Replace parameters and running statistics."""
        with torch.no_grad():
            for name, value in parameters.items():
                self.values[name].copy_(torch.from_numpy(value.copy()))

    def __call__(self, x: Tensor) -> Tensor:
        """Run the forward pass."""
        if self._whole is not None:
            return self._whole(self, x)
        values = {**self.values, self.model.input: x}
        for node, attributes in self._nodes:
            outputs = OPERATORS[node.op_type](self, attributes, *(values[i] if i else None for i in node.input))
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            values.update(zip(node.output, outputs, strict=False))
        return values[self.model.output]


def _conv(_: Twin, a: dict[str, Any], x: Tensor, w: Tensor, b: Tensor = None) -> Tensor:
    n = x.dim() - 2
    begins, ends = a["pads"][:n], a["pads"][n:]
    if begins != ends:
        x = F.pad(x, [p for pair in zip(reversed(begins), reversed(ends), strict=True) for p in pair])
        begins = [0] * n
    call = F.conv1d if n == 1 else F.conv2d
    return call(x, w, b, a["strides"], list(begins), a.get("dilations", [1] * n), a.get("group", 1))


def _batch_norm(twin: Twin, a: dict[str, Any], x: Tensor, scale: Tensor, bias: Tensor, m: Tensor, v: Tensor) -> Tensor:
    training = twin.training and bool(a.get("training_mode", 0))
    return F.batch_norm(x, m, v, scale, bias, training, 1 - a.get("momentum", 0.9), a.get("epsilon", 1e-5))


def _gru(_: Twin, a: dict[str, Any], x: Tensor, w: Tensor, r: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """PyTorch orders the gates r, z, n; ONNX z, r, h."""
    H = a["hidden_size"]
    order = torch.cat([torch.arange(H, 2 * H), torch.arange(H), torch.arange(2 * H, 3 * H)])
    wb, rb = b[0, : 3 * H], b[0, 3 * H :]
    weights = [w[0][order], r[0][order], wb[order], rb[order]]
    start = x.new_zeros(1, x.shape[1], H)
    states, last = torch._VF.gru(x, start, weights, True, 1, 0.0, True, False, False)
    return states.unsqueeze(1), last


OPERATORS: dict[str, Callable[..., Any]] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "GRU": _gru,
    "Relu": lambda _, _a, x: F.relu(x),
    "Softplus": lambda _, _a, x: F.softplus(x, threshold=80),
    "Tanh": lambda _, _a, x: torch.tanh(x),
    "Clip": lambda _, _a, x, low, high: F.hardtanh(x, float(low), float(high)),
    "Add": lambda _, _a, x, y: x + y,
    "Gemm": lambda _, _a, x, w, b: F.linear(x, w, b),
    "MaxPool": lambda _, a, x: F.max_pool2d(x, a["kernel_shape"], a["strides"]),
    "GlobalAveragePool": lambda _, _a, x: F.adaptive_avg_pool2d(x, 1) if x.dim() == 4 else F.adaptive_avg_pool1d(x, 1),
    "Flatten": lambda _, _a, x: torch.flatten(x, 1),
    "Transpose": lambda _, a, x: x.permute(*a["perm"]),
    "Squeeze": lambda _, _a, x, axes: x.squeeze(int(axes[0])),
}


def _tiny_transformer(twin: Twin, x: Tensor) -> Tensor:
    p = twin.values

    def norm(y: Tensor, name: str) -> Tensor:
        return F.layer_norm(y, y.shape[-1:], p[f"{name}.scale"], p[f"{name}.bias"])

    def linear(y: Tensor, name: str) -> Tensor:
        return F.linear(y, p[f"{name}.weight"].T, p[f"{name}.bias"])

    w, b = p["patches.weight"], p["patches.bias"]
    x = F.conv1d(x, w, b, w.shape[-1]) if w.dim() == 3 else F.conv2d(x, w, b, w.shape[-1])
    x = x.flatten(2).transpose(1, 2) + p["positions"]
    N, T, width = x.shape
    for i in (1, 2):
        qkv = linear(norm(x, f"block{i}.norm1"), f"block{i}.qkv").reshape(N, T, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(N, T, width)
        x = x + linear(mixed, f"block{i}.mix")
        x = x + linear(F.gelu(linear(norm(x, f"block{i}.norm2"), f"block{i}.up")), f"block{i}.down")
    return F.linear(norm(x, "norm").mean(1), p["output.weight"], p["output.bias"])


WHOLE: dict[str, Callable[[Twin, Tensor], Tensor]] = {"tiny-transformer": _tiny_transformer}
