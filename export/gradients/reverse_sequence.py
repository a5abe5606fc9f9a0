"""Gradient of ReverseSequence."""

from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient


@gradient("ReverseSequence")
def reverse_sequence(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = X with the first steps of every row turned round: the same once more is the inverse, and the adjoint."""
    axes = {"time_axis": node.attr("time_axis", 0), "batch_axis": node.attr("batch_axis", 1)}
    return [op("ReverseSequence", dY, node.inputs[1], **axes), None]
