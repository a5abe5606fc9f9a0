"""Remove nodes that no result depends on."""

from collections.abc import Iterable, Sequence

import onnx

from export.graph.subgraph import reads


def prune(nodes: Sequence[onnx.NodeProto], results: Iterable[str]) -> list[onnx.NodeProto]:
    """Keep what the results depend on.

    Args:
        nodes: operands before their readers.
        results: the values that are needed.

    Returns:
        The nodes that `results` depend on, in their order.
    """
    needed = set(results)
    kept = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(reads(node))
            kept.append(node)
    return kept[::-1]
