"""Gradient of TopK."""

from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient


@gradient("TopK")
def top_k(op: GraphBuilder, node: GraphNode, dY: Value, _: Value | None = None) -> Adjoints:
    """Y = the k largest (smallest) of X along `axis`: dY goes back to where they stood (the second output)."""
    X = node.inputs[0]
    zeros = op.expanded(op.like(dY, 0), X)
    return [op("ScatterElements", zeros, node.outputs[1], dY, axis=node.attr("axis", -1)), None]
