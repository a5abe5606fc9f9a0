"""Write a graph under construction out as a checked ONNX model."""

from collections.abc import Iterable, Mapping

import onnx
from onnx import helper, numpy_helper

from export.graph.builder import GraphBuilder, Value
from export.graph.node import with_names
from export.graph.prune import prune
from export.graph.rewrite import ONNX_RUNTIME
from export.lowering import lower

IR_VERSION = 8
"""What the oldest supported runtime reads; the graphs need nothing newer."""


def model_proto(
    op: GraphBuilder, name: str, inputs: Iterable[Value], results: Mapping[str, Value], target: str = ONNX_RUNTIME
) -> onnx.ModelProto:
    """Prune the graph to its results, lower it, and write it out.

    Args:
        op: the graph.
        name: what to call it.
        inputs: its inputs, in order.
        results: the value of each output, by the output's public name.
        target: the runtime, "onnxruntime" or "tflite".

    Returns:
        A model that onnx's checker accepts.
    """
    nodes, replaced = lower(op, prune(op.nodes, results.values()), list(results.values()), target)
    values = _distinct(op, nodes, {key: replaced.get(value, value) for key, value in results.items()})
    public = {value: key for key, value in values.items()}
    nodes = [with_names(node, public) for node in nodes]
    read = {x for node in nodes for x in node.input}
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_value_info(i, op.types[i]) for i in inputs],
        [helper.make_value_info(key, op.types[value]) for key, value in values.items()],
        [numpy_helper.from_array(v, k) for k, v in op.constants.items() if k in read],
    )
    model = helper.make_model(
        graph,
        producer_name="murmur",
        opset_imports=[helper.make_opsetid("", op.opset)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _distinct(op: GraphBuilder, nodes: list[onnx.NodeProto], results: Mapping[str, Value]) -> dict[str, Value]:
    """The results, with an Identity appended for each that is an input, or has another public name already."""
    free = {y for node in nodes for y in node.output}
    distinct = {}
    for key, value in results.items():
        if value in free:
            free.discard(value)
            distinct[key] = value
        else:
            distinct[key] = copy = op("Identity", value)
            op.forget()
            nodes.append(op.nodes[-1])
            free.discard(copy)
    return distinct
