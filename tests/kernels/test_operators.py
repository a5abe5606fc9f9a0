"""Each compiled operator against the standard ones that it replaces."""

from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort  # noqa: TID251 - the operators are called by themselves
import pytest
from onnx import TensorProto, helper

from edge.interfaces import Array

GEOMETRIES = {
    "plain": ((9, 11), (3, 3), (1, 1), (0, 0, 0, 0), (1, 1)),
    "same": ((25, 5), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "stride": ((32, 32), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    "uneven": ((13, 7), (5, 2), (2, 1), (2, 0, 1, 1), (1, 2)),
    "wide stride": ((10, 17), (3, 3), (3, 2), (0, 1, 2, 0), (2, 1)),
    "one pixel": ((1, 1), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "large window": ((12, 12), (7, 7), (1, 1), (3, 3, 3, 3), (1, 1)),
    "stride without padding": ((8, 8), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
}
"""image, window, strides, pads, dilations"""


def run(kernels: ModuleType, nodes: list[onnx.NodeProto], inputs: dict[str, Array], output: str) -> Array:
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("murmur", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = ort.SessionOptions()
    options.register_custom_ops_library(str(kernels.library()))
    result: Array = ort.InferenceSession(model.SerializeToString(), options).run([output], inputs)[0]
    return result


@pytest.mark.parametrize("name", GEOMETRIES)
def test_depthwise(kernels: ModuleType, name: str) -> None:
    """Forward and both gradients; that of the filters by its definition, a cell of the window at a time."""
    (h, w), window, strides, pads, dilations = GEOMETRIES[name]
    random, C = np.random.default_rng(0), 5
    x = random.standard_normal((3, C, h, w), np.float32)
    filters = random.standard_normal((C, 1, *window), np.float32)
    standard: dict[str, Any] = {"group": C, "strides": strides, "pads": pads, "dilations": dilations}
    ours: dict[str, Any] = dict(zip(("top", "left", "bottom", "right"), pads, strict=True))
    for axis, i in (("h", 0), ("w", 1)):
        ours |= {f"stride_{axis}": strides[i], f"dilation_{axis}": dilations[i], f"kernel_{axis}": window[i]}
    conv = helper.make_node("Conv", ["x", "w"], ["y"], **standard)
    y = run(kernels, [conv], {"x": x, "w": filters}, "y")
    own = helper.make_node("DepthwiseConv", ["x", "w"], ["y"], domain="murmur", extra_h=0, extra_w=0, **ours)
    np.testing.assert_allclose(run(kernels, [own], {"x": x, "w": filters}, "y"), y, rtol=1e-4, atol=1e-5)

    dy = random.standard_normal(y.shape, np.float32)
    reach = [strides[i] * (y.shape[2 + i] - 1) + dilations[i] * (window[i] - 1) + 1 for i in (0, 1)]
    extra = [(h, w)[i] - reach[i] + pads[i] + pads[2 + i] for i in (0, 1)]
    if all(0 <= e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        back = helper.make_node("ConvTranspose", ["dy", "w"], ["dx"], output_padding=extra, **standard)
        dx = run(kernels, [back], {"dy": dy, "w": filters}, "dx")
        own = helper.make_node(
            "DepthwiseInputGradient", ["dy", "w"], ["dx"], domain="murmur", extra_h=extra[0], extra_w=extra[1], **ours
        )
        np.testing.assert_allclose(run(kernels, [own], {"dy": dy, "w": filters}, "dx"), dx, rtol=1e-4, atol=1e-5)

    own = helper.make_node(
        "DepthwiseFilterGradient", ["x", "dy"], ["dw"], domain="murmur", extra_h=0, extra_w=0, **ours
    )
    dw = run(kernels, [own], {"x": x, "dy": dy}, "dw")
    padded = np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])))
    for i, j in np.ndindex(*window):
        rows = slice(i * dilations[0], i * dilations[0] + strides[0] * (y.shape[2] - 1) + 1, strides[0])
        columns = slice(j * dilations[1], j * dilations[1] + strides[1] * (y.shape[3] - 1) + 1, strides[1])
        want = (padded[:, :, rows, columns].astype(np.float64) * dy).sum((0, 2, 3))
        np.testing.assert_allclose(dw[:, 0, i, j], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mask", ["none", "above", "between"])
@pytest.mark.parametrize("image", [(), (7,), (4, 6), (5, 5)])
def test_batch_norm_gradient(kernels: ModuleType, mask: str, image: tuple[int, ...]) -> None:
    random, C, epsilon = np.random.default_rng(1), 3, 1e-3
    shape = (6, C, *image)
    dy, judge, x = (random.standard_normal(shape, np.float32) for _ in range(3))
    judge.flat[::5] = 0.0
    scale = random.standard_normal(C, np.float32)
    axes = (0, *range(2, len(shape)))
    mean, variance = x.mean(axes), x.var(axes)
    kind = ["none", "above", "between"].index(mask)
    bounds: dict[str, Any] = {"low": 0.0, "high": 1.0}
    node = helper.make_node(
        "BatchNormGradient",
        ["dy", "judge", "x", "scale", "mean", "variance"],
        ["dx", "dscale", "dbias"],
        domain="murmur",
        epsilon=epsilon,
        mask=kind,
        **bounds,
    )
    inputs = {"dy": dy, "judge": judge, "x": x, "scale": scale, "mean": mean, "variance": variance}
    masks: list[Array] = [np.ones(shape), judge > 0, (judge >= 0) & (judge <= 1)]
    dz: Array = dy * masks[kind]
    per = (1, C, *(1 for _ in image))
    deviation = np.sqrt(variance + epsilon).reshape(per)
    xhat = (x - mean.reshape(per)) / deviation
    dx = (
        scale.reshape(per)
        / deviation
        * (dz - dz.mean(axes, keepdims=True) - xhat * (dz * xhat).mean(axes, keepdims=True))
    )
    for name, want in (("dx", dx), ("dscale", (dz * xhat).sum(axes)), ("dbias", dz.sum(axes))):
        if image or name != "dx":
            np.testing.assert_allclose(run(kernels, [node], inputs, name), want, rtol=1e-3, atol=1e-4)
