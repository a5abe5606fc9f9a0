"""Write out control flow that is known at export time: the branch of an If, every pass of a Loop or a Scan.

PyTorch's tracing exporter writes `squeeze(1)` as an If on the size of that axis, and a scripted loop as a Loop. What
follows from constants and from the shape of a sample is known; the number of samples is not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper

from export.errors import ExportError
from export.graph.builder import Value
from export.graph.followed import FollowedGraph
from export.graph.node import attributes
from export.graph.subgraph import reads, renamed
from export.transforms.expand import CONTROL, opset_of

LONGEST = 256
"""Passes of a loop that are written out."""


@dataclass
class ControlFlow:
    """What became of the control flow of a graph."""

    graph: FollowedGraph
    branches: list[str] = field(default_factory=list)
    """the If nodes of which one branch was kept"""
    loops: list[str] = field(default_factory=list)
    """the loops that were written out, with their passes, as in "decoder (12 passes)" """
    repeated: set[Value] = field(default_factory=set)
    """initializers and constants that every pass of a loop reads: a weight among them is one parameter"""


def write_out(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, ControlFlow]:
    """Write out the control flow whose course is known; other control flow stays as it is.

    Args:
        proto: a model; it is left as it is.

    Returns:
        The same model where nothing was to be done, otherwise a changed copy; and what became of its control flow.

    Raises:
        ExportError: a loop has more than `LONGEST` passes, or none, or its end depends on the data.
    """
    if not any(node.op_type in CONTROL for node in proto.graph.node):
        return proto, ControlFlow(FollowedGraph(onnx.GraphProto(), opset_of(proto)))
    written = ControlFlow(FollowedGraph(proto.graph, opset_of(proto)))
    for node in proto.graph.node:
        _write(written, node)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    del copy.graph.node[:]
    copy.graph.node.extend(written.graph.nodes)
    copy.graph.initializer.extend(written.graph.tensors)
    return copy, written


def _write(written: ControlFlow, node: onnx.NodeProto) -> None:
    """Append a node, or what it does."""
    if node.op_type not in CONTROL:
        written.graph.append(node)
    elif not WRITERS[node.op_type](written, node):
        written.graph.nodes.append(node)


def _branch(written: ControlFlow, node: onnx.NodeProto) -> bool:
    """Write the branch of an If whose condition is known."""
    condition = written.graph.value(node.input[0])
    if condition is None:
        return False
    written.branches.append(_name(node))
    branch = attributes(node)["then_branch" if condition.all() else "else_branch"]
    _name_outputs(written, node, _contents(written, branch, {}, _name(node)))
    return True


def _loop(written: ControlFlow, node: onnx.NodeProto) -> bool:
    """Write the passes of a Loop: at most so many, and as long as the condition holds."""
    graph, name, body = written.graph, _name(node), attributes(node)["body"]
    count, condition = (
        graph.value(node.input[i]) if node.input[i:] and node.input[i] else np.array(default)
        for i, default in enumerate((LONGEST + 1, True))
    )
    if count is None or condition is None:
        return False
    carried = list(node.input[2:])
    rows: list[list[Value]] = []
    invariant = _invariant(written, body, name)
    while len(rows) < count.item() and condition.all():
        _check_passes(node, len(rows) + 1)
        prefix = f"{name}/{len(rows)}"
        number, holds = graph.tensor(f"{prefix}/pass", len(rows)), graph.tensor(f"{prefix}/holds", True, np.bool_)
        ends, *results = _contents(written, body, invariant | _inputs(body, [number, holds, *carried]), prefix)
        rows.append(results[len(carried) :])
        carried = results[: len(carried)]
        condition = graph.value(ends)
        if condition is None:
            raise ExportError(
                f"node '{name}' (Loop): its end depends on the data; export the model with a fixed number of passes"
            )
    columns = [graph.stack(f"{name}/{i}/rows", list(column), 0) for i, column in enumerate(zip(*rows, strict=True))]
    return _finish(written, node, len(rows), [*carried, *columns])


def _scan(written: ControlFlow, node: onnx.NodeProto) -> bool:
    """Write the passes of a Scan: one for each element along an axis of its last inputs."""
    graph, name, settings = written.graph, _name(node), attributes(node)
    body, first = settings["body"], len(node.input) - settings["num_scan_inputs"]
    carried, scanned = list(node.input[:first]), node.input[first:]
    axes = settings.get("scan_input_axes") or [0] * len(scanned)
    count = graph.size(scanned[0], axes[0])
    if graph.opset < 9 or not count:
        return False
    _check_passes(node, count)
    parts = [graph.unstack(f"{name}/in{i}", x, axes[i], count) for i, x in enumerate(scanned)]
    _reverse(parts, settings.get("scan_input_directions"))
    invariant, rows = _invariant(written, body, name), []
    for number in range(count):
        inputs = _inputs(body, [*carried, *(part[number] for part in parts)])
        results = _contents(written, body, invariant | inputs, f"{name}/{number}")
        rows.append(results[first:])
        carried = results[:first]
    columns = [list(column) for column in zip(*rows, strict=True)]
    _reverse(columns, settings.get("scan_output_directions"))
    axes = settings.get("scan_output_axes") or [0] * len(columns)
    stacked = [graph.stack(f"{name}/out{i}", column, axes[i]) for i, column in enumerate(columns)]
    return _finish(written, node, count, [*carried, *stacked])


WRITERS: dict[str, Callable[[ControlFlow, onnx.NodeProto], bool]] = {"If": _branch, "Loop": _loop, "Scan": _scan}
"""By operator: writes it out and returns True, or returns False where its course is not known."""


def _contents(written: ControlFlow, graph: onnx.GraphProto, names: Mapping[Value, Value], prefix: str) -> list[Value]:
    """Write what is inside a graph, but for what has a name already; the names of its outputs."""
    own = {t.name: written.graph.initializer(t, f"{prefix}/{t.name}") for t in graph.initializer if t.name not in names}
    nodes = [node for node in graph.node if not names.keys() & set(node.output)]
    names = {**names, **own, **{y: f"{prefix}/{y}" for node in nodes for y in node.output if y}}
    for node in nodes:
        _write_as(written, node, names, prefix)
    return [names.get(y.name, y.name) for y in graph.output]


def _invariant(written: ControlFlow, body: onnx.GraphProto, prefix: str) -> dict[Value, Value]:
    """Write once what is the same in every pass of a loop; the names of it."""
    names = {t.name: written.graph.initializer(t, f"{prefix}/{t.name}") for t in body.initializer}
    varying = {x.name for x in body.input}
    for node in body.node:
        if node.op_type in CONTROL or not varying.isdisjoint(reads(node)):
            varying.update(node.output)
            continue
        names |= {y: f"{prefix}/{y}" for y in node.output if y}
        _write_as(written, node, names, prefix)
    written.repeated |= written.graph.fixed & {names.get(x, x) for node in body.node for x in reads(node)}
    return names


def _write_as(written: ControlFlow, node: onnx.NodeProto, names: Mapping[Value, Value], prefix: str) -> None:
    copy = renamed(node, names)
    copy.name = f"{prefix}/{_name(node)}"
    _write(written, copy)


def _finish(written: ControlFlow, node: onnx.NodeProto, passes: int, values: list[Value]) -> bool:
    if any(node.output[len(values) :]):
        raise ExportError(f"node '{_name(node)}' ({node.op_type}) has no pass, so its outputs would be empty")
    written.loops.append(f"{_name(node)} ({passes} passes)")
    _name_outputs(written, node, values)
    return True


def _name_outputs(written: ControlFlow, node: onnx.NodeProto, values: list[Value]) -> None:
    for value, output in zip(values, node.output, strict=False):
        if output:
            written.graph.append(helper.make_node("Identity", [value], [output], name=output))


def _check_passes(node: onnx.NodeProto, passes: int) -> None:
    if passes > LONGEST:
        raise ExportError(
            f"node '{_name(node)}' ({node.op_type}) has more than the {LONGEST} passes that are written out; export "
            "the model for shorter samples, or with an operator (GRU, LSTM, RNN) in place of the loop"
        )


def _inputs(body: onnx.GraphProto, values: list[Value]) -> dict[Value, Value]:
    return dict(zip((x.name for x in body.input), values, strict=True))


def _reverse(columns: list[list[Value]], directions: list[int] | None) -> None:
    """Turn round the columns whose direction is 1."""
    for column, backwards in zip(columns, directions or [0] * len(columns), strict=True):
        if backwards:
            column.reverse()


def _name(node: onnx.NodeProto) -> str:
    return str(node.name or next(filter(None, node.output)))
