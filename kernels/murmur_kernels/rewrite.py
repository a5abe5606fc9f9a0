"""A standard training graph with our operators in place of what they compute."""

from murmur_kernels import batch_norm, depthwise
from murmur_kernels.graph import closed, living, opened
from murmur_kernels.protobuf import Node

PATTERNS = depthwise.replacement, batch_norm.replacement


def rewritten(model: bytes) -> bytes:
    """Rewrite a model.

    Args:
        model: an ONNX file's content.

    Returns:
        The same function of the same inputs, as another file's content; `model` itself if nothing is to be replaced.

    Raises:
        ValueError: it is no model.
    """
    graph = opened(model)
    replaced = [new for pattern in PATTERNS for node in graph.nodes if (new := pattern(graph, node)) is not None]
    if not replaced:
        return model
    of_value: dict[str, Node] = {}
    for new in replaced:  # two gradients may share a sum: the first one makes it
        new.outputs = [f"{value}/again" if value in of_value else value for value in new.outputs]
        of_value |= dict.fromkeys(new.outputs, new)
    nodes: list[Node] = []
    written: set[int] = set()
    for node in graph.nodes:
        new = next((of_value[value] for value in node.outputs if value in of_value), None)
        if new is None:
            nodes.append(node)
        elif id(new) not in written:  # its inputs are there wherever the first of its outputs was
            nodes.append(new)
            written.add(id(new))
    return closed(model, living(nodes, graph.outputs))
