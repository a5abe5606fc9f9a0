"""What a graph costs: multiply-accumulates by node and phase, and the memory its activations need.

    forward           what the losses depend on
    input gradient    what the gradients need besides,
    weight gradient   except products of two activations that no other product depends on
    update            what the optimizer's scalars take part in; but a product counts as a gradient, since that of a
                      weight may have its update inside

Each operator's count stands beside its gradient rule (`export.gradients.macs`).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import onnx

from edge import bundle
from export.gradients import MACS
from export.graph.builder import GraphBuilder, Value
from export.graph.node import GraphNode
from export.graph.shape_folding import sized
from export.report.memory import VIEWS, peak_bytes, size_of

PHASES = ("forward", "input gradient", "weight gradient", "update")


@dataclass(frozen=True)
class LayerCost:
    """One node, under the name of the parameter that it reads or serves, if there is one."""

    name: str
    op_type: str
    phase: str
    macs: int
    """multiply-accumulates, for the batch asked for"""
    elements: int
    """of its first output"""


@dataclass(frozen=True)
class Cost:
    """What one run of a graph costs."""

    layers: tuple[LayerCost, ...]
    activations: int
    """bytes of activations when most are alive"""
    inputs: int
    """bytes of all inputs"""

    @property
    def macs(self) -> dict[str, int]:
        """Multiply-accumulates by phase."""
        total = Counter(dict.fromkeys(PHASES, 0))
        for layer in self.layers:
            total[layer.phase] += layer.macs
        return dict(total)


def cost(model: onnx.ModelProto, sizes: Mapping[str, int]) -> Cost:
    """Count a graph of ours.

    Args:
        model: a training or prediction graph.
        sizes: a number for each symbolic dimension ("N", "R", "rows").

    Returns:
        Its cost, node by node.

    Raises:
        ExportError: a dimension has no number.
    """
    op = sized(model, sizes)
    labels, macs = _labels(op), {node.output[0]: count_macs(op, node) for node in op.nodes}
    multiplied = _multiplied(op, macs)
    phases = _phases(op, [o.name for o in model.graph.output], [i.name for i in model.graph.input])

    def layer(node: onnx.NodeProto) -> LayerCost:
        phase, work = phases[node.output[0]], macs[node.output[0]]
        if work and phase != "forward":
            last = node.output[0] not in multiplied and not any(_is_weight(op, x) for x in node.input[:2])
            phase = "weight gradient" if last else "input gradient"
        elements = prod(_size(op, node.output[0])) if node.output[0] else 0
        return LayerCost(labels[node.output[0]], node.op_type, phase, work, elements)

    layers = tuple(layer(node) for node in op.nodes)
    inputs = sum(size_of(op, i.name) for i in model.graph.input)
    return Cost(layers, peak_bytes(op, {o.name for o in model.graph.output}), inputs)


def count_macs(op: GraphBuilder, proto: onnx.NodeProto) -> int:
    """Multiply-accumulates of a node whose shapes are all known."""
    if (count := MACS.get(proto.op_type)) is None:
        return 0
    node = GraphNode(op, proto, [])
    output = _size(op, node.outputs[0]) if node.outputs[0] else ()
    return count(node, [_size(op, x) if x else () for x in node.inputs], output)


def _labels(op: GraphBuilder) -> dict[Value, str]:
    """By first output: the one parameter that a node reads or serves, by which people know a layer, or its own name."""
    serves: dict[Value, set[str]] = {}
    labels = {}
    for node in reversed(op.nodes):
        reached = set().union(*(serves.get(y, set()) for y in node.output))
        reached |= {y.removeprefix(bundle.NEXT + bundle.PARAMETER) for y in node.output if y.startswith(bundle.NEXT)}
        for x in node.input:
            serves[x] = serves.get(x, set()) | reached
        read = [x.removeprefix(bundle.PARAMETER) for x in node.input if x.startswith(bundle.PARAMETER)]
        label = read[0] if read else node.name
        labels[node.output[0]] = next(iter(reached)) if len(reached) == 1 else label
    return labels


def _multiplied(op: GraphBuilder, macs: Mapping[Value, int]) -> set[Value]:
    """Everything that a product depends on: the adjoints of activations, but not the gradients of weights."""
    multiplied: set[Value] = set()
    for node in reversed(op.nodes):
        if multiplied.intersection(node.output) or macs[node.output[0]]:
            multiplied.update(node.input)
    return multiplied


def _is_weight(op: GraphBuilder, value: Value) -> bool:
    """Whether a value is a parameter, in whatever order of axes."""
    while (node := op.producer(value)) is not None and node.op_type in {*VIEWS, "Transpose", "Cast"}:
        value = node.input[0]
    return value.startswith(bundle.PARAMETER)


def _phases(op: GraphBuilder, outputs: list[Value], inputs: list[Value]) -> dict[Value, str]:
    """The phase of each node, by its first output."""
    forward = {o for o in outputs if not o.startswith(bundle.NEXT) and o != bundle.SQUARED_NORM} or set(outputs)
    for node in reversed(op.nodes):
        if forward.intersection(node.output):
            forward.update(node.input)
    update = {i for i in inputs if i.startswith(bundle.STATE) or (op.shape(i) == () and "/" not in i)}
    for node in op.nodes:
        if update.intersection(node.input):
            update.update(node.output)

    def phase(node: onnx.NodeProto) -> str:
        if forward.intersection(node.output):
            return "forward"
        return "update" if update.intersection(node.output) else "input gradient"

    return {node.output[0]: phase(node) for node in op.nodes}


def _size(op: GraphBuilder, value: Value) -> tuple[int, ...]:
    return tuple(d or 0 for d in op.shape(value))
