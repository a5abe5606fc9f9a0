"""What a graph costs: multiply-accumulates by node and phase, and the memory its activations need.

    forward           what the losses depend on
    input gradient    what the gradients need besides,
    weight gradient   but for products of two activations that no product depends on
    update            what the optimizer's scalars have a part in; but a product counts as a gradient, as a weight's
                      may have its update inside

Convolutions with constant filters only copy (patches of a weight gradient) and count as element-wise. Memory
is planned by liveness over the nodes in their order: a value lives from its node to its last reader, views
cost nothing, and an element-wise result takes the place of an operand that dies there.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from edge import bundle
from export.graph.builder import GraphBuilder, Value
from export.graph.node import Node
from export.graph.shape_folding import sized

PHASES = ("forward", "input gradient", "weight gradient", "update")
VIEWS = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
IN_PLACE = {
    *("Add", "Sub", "Mul", "Div", "Neg", "Exp", "Log", "Sqrt", "Relu", "Clip", "Tanh", "Sigmoid", "Softmax"),
    *("Erf", "Abs", "Reciprocal", "Sum", "LogSoftmax", "LeakyRelu", "Elu", "Selu", "Softplus"),
}


@dataclass(frozen=True)
class Layer:
    """One node, called by the parameter it reads or serves, if there is one.

    macs: multiply-accumulates; elements: of its first output; both for the batch asked for.
    """

    name: str
    op_type: str
    phase: str
    macs: int
    elements: int


@dataclass(frozen=True)
class Cost:
    """Of one run of a graph. Memory in bytes: activations at their highest, and all inputs."""

    layers: tuple[Layer, ...]
    activations: int
    inputs: int

    @property
    def macs(self) -> dict[str, int]:
        """By phase."""
        total = Counter(dict.fromkeys(PHASES, 0))
        for layer in self.layers:
            total[layer.phase] += layer.macs
        return dict(total)


def cost(model: onnx.ModelProto, sizes: Mapping[str, int]) -> Cost:
    """Count a graph of ours, with a number for each symbolic dimension ("N", "R", "rows").

    Raises:
        ExportError: a dimension that has none.
    """
    op = sized(model, sizes)
    labels, made = _labels(op), {node.output[0]: macs(op, node) for node in op.nodes}
    multiplied = _multiplied(op, made)
    phase = _phases(op, [o.name for o in model.graph.output], [i.name for i in model.graph.input])

    def layer(node: onnx.NodeProto) -> Layer:
        of, work = phase[node.output[0]], made[node.output[0]]
        if work and of != "forward":
            last = node.output[0] not in multiplied and not any(_weight(op, x) for x in node.input[:2])
            of = "weight gradient" if last else "input gradient"
        elements = prod(_dims(op, node.output[0])) if node.output[0] else 0
        return Layer(labels[node.output[0]], node.op_type, of, work, elements)

    layers = tuple(layer(node) for node in op.nodes)
    given = sum(_bytes(op, i.name) for i in model.graph.input)
    return Cost(layers, _peak(op, {o.name for o in model.graph.output}), given)


def _labels(op: GraphBuilder) -> dict[Value, str]:
    """By first output: the parameter a node reads or alone serves, by which people know a layer, or its own name."""
    serves: dict[Value, set[str]] = {}
    found = {}
    for node in reversed(op.nodes):
        reached = set().union(*(serves.get(y, set()) for y in node.output))
        reached |= {y.removeprefix(bundle.NEXT + bundle.PARAMETER) for y in node.output if y.startswith(bundle.NEXT)}
        for x in node.input:
            serves[x] = serves.get(x, set()) | reached
        read = [x.removeprefix(bundle.PARAMETER) for x in node.input if x.startswith(bundle.PARAMETER)]
        label = read[0] if read else node.name
        found[node.output[0]] = next(iter(reached)) if len(reached) == 1 else label
    return found


def _multiplied(op: GraphBuilder, made: Mapping[Value, int]) -> set[Value]:
    """All that a product depends on: the adjoints of activations, but not the gradients of weights."""
    found: set[Value] = set()
    for node in reversed(op.nodes):
        if found.intersection(node.output) or made[node.output[0]]:
            found.update(node.input)
    return found


def _weight(op: GraphBuilder, value: Value) -> bool:
    """Whether a value is a parameter, in whatever order of axes."""
    while (node := op.producer(value)) is not None and node.op_type in {*VIEWS, "Transpose", "Cast"}:
        value = node.input[0]
    return value.startswith(bundle.PARAMETER)


def macs(op: GraphBuilder, proto: onnx.NodeProto) -> int:
    """Multiply-accumulates of a node whose shapes are all known."""
    node = Node(op, proto, [])
    first = [_dims(op, x) if x else () for x in node.inputs]
    Y = _dims(op, node.outputs[0]) if node.outputs[0] else ()
    if node.op_type == "Conv":
        return 0 if node.constant(1) is not None else prod(Y) * prod(first[1][1:])
    if node.op_type == "ConvTranspose":
        return 0 if node.constant(1) is not None else prod(first[0]) * prod(first[1][1:])
    if node.op_type in ("Gemm", "MatMul"):
        K = first[0][0] if node.attr("transA", 0) else first[0][-1]
        return prod(Y) * K
    if node.op_type in ("GRU", "LSTM"):
        (T, N, inputs), (D, gates, H) = first[0], first[2]
        return T * N * D * gates * (inputs + H)
    if node.op_type == "Einsum":
        letters = node.attr("equation", "").replace(" ", "").split("->")[0].split(",")
        return prod(
            {c: d for word, dims in zip(letters, first, strict=True) for c, d in zip(word, dims, strict=True)}.values()
        )
    return 0


def _phases(op: GraphBuilder, outputs: list[Value], inputs: list[Value]) -> dict[Value, str]:
    """The phase of each node, by its first output."""
    losses = [o for o in outputs if not o.startswith(bundle.NEXT)]
    needed = set(losses or outputs)
    for node in reversed(op.nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
    moved = {i for i in inputs if i.startswith(bundle.STATE) or (op.shape(i) == () and "/" not in i)}
    for node in op.nodes:
        if moved.intersection(node.input):
            moved.update(node.output)

    def of(node: onnx.NodeProto) -> str:
        if needed.intersection(node.output):
            return "forward"
        return "update" if moved.intersection(node.output) else "input gradient"

    return {node.output[0]: of(node) for node in op.nodes}


def _peak(op: GraphBuilder, results: set[Value]) -> int:
    """Bytes of activations when most are alive. Results are the caller's, and not counted."""
    owner: dict[Value, Value] = {}
    last: dict[Value, int] = {}
    for i, node in enumerate(op.nodes):
        if node.op_type in VIEWS:
            owner[node.output[0]] = owner.get(node.input[0], node.input[0])
        for x in node.input:
            last[owner.get(x, x)] = i
    made = {y for node in op.nodes for y in node.output if y}
    alive = highest = 0
    for i, node in enumerate(op.nodes):
        fresh = [y for y in node.output if y and y not in owner and y not in results]
        dying = {owner.get(x, x) for x in node.input} & made - results
        dying = {x for x in dying if last[x] == i}
        reused = 0
        if node.op_type in IN_PLACE and fresh:
            reused = max((_bytes(op, x) for x in dying if _bytes(op, x) == _bytes(op, fresh[0])), default=0)
        alive += sum(_bytes(op, y) for y in fresh)
        highest = max(highest, alive - reused)
        alive -= sum(_bytes(op, x) for x in dying)
        alive -= sum(_bytes(op, y) for y in fresh if y not in last)
    return highest


def _dims(op: GraphBuilder, value: Value) -> tuple[int, ...]:
    return tuple(d or 0 for d in op.shape(value))


def _bytes(op: GraphBuilder, value: Value) -> int:
    return prod(_dims(op, value)) * np.dtype(op.dtype(value)).itemsize
