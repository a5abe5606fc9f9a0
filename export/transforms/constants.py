"""Tell constants from parameters where an exporter stored both as float initializers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import onnx

from export.graph.builder import Array, Value
from export.transforms.float_weights import LAYERS

ARITHMETIC = {"Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Where"}
RECURRENT = {"GRU", "LSTM", "RNN"}
SCATTERING = {"ScatterElements", "ScatterND"}
MASKED = -10.0
"""An entry of a mask that is added to attention scores is 0, or below this."""


def constants(nodes: Iterable[onnx.NodeProto], values: Mapping[Value, Array]) -> dict[Value, str]:
    """Find the initializers that a model was built with, not trained with.

    Args:
        nodes: the model.
        values: its float initializers of at least one axis.

    Returns:
        Name -> what it is, for those that every reader uses as a constant.
    """
    nodes = list(nodes)
    producers = {y: node for node in nodes for y in node.output}
    readers: defaultdict[Value, list[onnx.NodeProto]] = defaultdict(list)
    for node in nodes:
        for value in node.input:
            readers[value].append(node)
    kinds: dict[Value, str] = {}
    for name, value in values.items():
        candidates = {_kind(node, name, value, values, producers, readers) for node in readers[name]}
        kind = candidates.pop() if len(candidates) == 1 else None
        if kind:
            kinds[name] = kind
    return kinds


def _kind(
    node: onnx.NodeProto,
    name: Value,
    value: Array,
    values: Mapping[Value, Array],
    producers: Mapping[Value, onnx.NodeProto],
    readers: Mapping[Value, list[onnx.NodeProto]],
) -> str | None:
    """What constant a node uses the initializer as; None for a parameter."""
    behind_layer = any(x in producers and producers[x].op_type in LAYERS for x in node.input)
    if node.op_type in ARITHMETIC and value.size == 1 and not (node.op_type == "Add" and behind_layer):
        return "a number"
    if node.op_type in ("Add", "Sub", "Mul", "Where") and _is_mask(value, node.op_type):
        return "a mask"
    if node.op_type == "Add" and _hides_nothing(value) and {r.op_type for r in readers[node.output[0]]} == {"Softmax"}:
        return "a mask that hides nothing"
    if (
        node.op_type in SCATTERING
        and name != node.input[1]
        and np.ptp(value) == 0
        and float(value.flat[0]).is_integer()
    ):
        return "numbers that mark regions"  # of a shifted window (Swin): one for each, written into a table
    if node.op_type in RECURRENT and name in node.input[5:7] and not value.any():
        return "an initial state of zero"
    if node.op_type == "InstanceNormalization" and _between_reshapes(node, producers, readers):
        scale, bias = (values.get(x) for x in node.input[1:3])
        if scale is not None and bias is not None and (scale == 1).all() and not bias.any():
            return "part of a group normalization"
    return None


def _is_mask(value: Array, op_type: str) -> bool:
    """Whether all entries are either neutral or hide what they meet, and both occur."""
    neutral = value == (1 if op_type == "Mul" else 0)
    hiding = value == 0 if op_type == "Mul" else np.abs(value) >= -MASKED if op_type == "Sub" else value <= MASKED
    return bool(neutral.any() and hiding.any() and (neutral | hiding).all())


def _is_one_integer(value: Array) -> bool:
    """Whether all entries are one whole number."""
    return bool((value == np.round(value.flat[0])).all())


def _hides_nothing(value: Array) -> bool:
    """Whether it is zero for all positions, and alike for all heads: a learned bias differs from head to head."""
    return value.ndim == 4 and value.shape[1] == 1 and not value.any()


def _between_reshapes(
    node: onnx.NodeProto, producers: Mapping[Value, onnx.NodeProto], readers: Mapping[Value, list[onnx.NodeProto]]
) -> bool:
    """Whether a normalization sees groups of channels as channels: the real scale and bias come after it."""
    source = producers.get(node.input[0])
    following = readers[node.output[0]]
    return (
        source is not None
        and source.op_type == "Reshape"
        and bool(following)
        and all(reader.op_type == "Reshape" for reader in following)
    )
