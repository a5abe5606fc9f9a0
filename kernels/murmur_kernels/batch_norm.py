"""Finds gradients of batch normalisations in a training graph of standard operators.

The exporter writes dX = dZ slope + (b (X - mean) + c), the bracket as a normalisation; dZ may be dY masked by a ReLU or
a clip.
"""

from murmur_kernels.graph import Graph
from murmur_kernels.protobuf import Node

NONE, ABOVE, BETWEEN = 0, 1, 2
"""masks: none, judge > low, low <= judge <= high"""


def replacement(graph: Graph, node: Node) -> Node | None:
    """Return what computes dX, dscale and dbias at once, for the normalisation in the middle of a gradient."""
    if node.op != "BatchNormalization" or node.attributes != {"epsilon": 0.0} or len(node.inputs) != 5:
        return None
    try:
        return _gradient(graph, node)
    except _OtherShapeError:
        return None


class _OtherShapeError(Exception):
    """The graph around the node is not what the exporter writes."""


def _made(graph: Graph, value: str, op: str) -> list[str]:
    node = graph.by(value, op)
    if node is None:
        raise _OtherShapeError
    return node.inputs


def _gradient(graph: Graph, node: Node) -> Node:
    centred, b, c = node.inputs[:3]
    (total,) = graph.consumers[node.outputs[0]]
    scaled, bracket = _made(graph, total.outputs[0], "Add")
    dZ, slope = _made(graph, scaled, "Mul")
    scale, deviation = _made(graph, _made(graph, slope, "Unsqueeze")[0], "Div")
    variance, epsilon = _made(graph, _made(graph, deviation, "Sqrt")[0], "Add")
    X, mean = _made(graph, centred, "Sub")
    (mean, *_) = _made(graph, mean, "Unsqueeze")
    slope_of_x, share = _made(graph, b, "Mul")
    dscale, d1 = _made(graph, slope_of_x, "Div")
    weighted, d2 = _made(graph, dscale, "Div")
    products = _made(graph, weighted, "ReduceSum")[0]
    dbias, same_share = _made(graph, c, "Mul")
    total_dZ = _made(graph, dbias, "ReduceSum")[0]
    value = graph.number(epsilon)
    fits = _made(graph, products, "Mul") == [dZ, centred] and total_dZ == dZ and share == same_share
    if not fits or (bracket, d1, d2) != (node.outputs[0], deviation, deviation) or value is None:
        raise _OtherShapeError
    inside = {id(graph.producer[v]) for v in (scaled, products, dbias)}
    dY, judge, mask = _mask(graph, dZ, inside)
    outputs = [total.outputs[0], dscale, dbias]
    return Node(
        "murmur.BatchNormGradient", [dY, judge or X, X, scale, mean, variance], outputs, {"epsilon": value, **mask}
    )


def _mask(graph: Graph, dZ: str, inside: set[int]) -> tuple[str, str, dict[str, float]]:
    """(dY, what decides, attributes): of the product that dZ is, if nobody outside reads it."""
    unmasked = dZ, "", {"mask": NONE, "low": 0.0, "high": 0.0}
    product = graph.by(dZ, "Mul")
    if product is None or {id(n) for n in graph.consumers[dZ]} != inside or dZ in graph.outputs:
        return unmasked
    dY, cast = product.inputs
    caster = graph.by(cast, "Cast")
    judge = graph.producer.get(caster.inputs[0]) if caster else None
    if judge is None:
        return unmasked
    if judge.op == "Greater" and graph.number(judge.inputs[1]) is not None:
        return dY, judge.inputs[0], {"mask": ABOVE, "low": graph.number(judge.inputs[1]) or 0.0, "high": 0.0}
    clip = graph.by(judge.inputs[1], "Clip") if judge.op == "Equal" else None
    if clip is not None and clip.inputs[0] == judge.inputs[0] and len(clip.inputs) == 3:
        low, high = (graph.number(v) for v in clip.inputs[1:])
        if low is not None and high is not None:
            return dY, judge.inputs[0], {"mask": BETWEEN, "low": low, "high": high}
    return unmasked
