"""Read an ONNX model, check it, and bring it to the exporter's form, step by step (`STEPS`).

Parameters are told from constants: a parameter is a float initializer of at least one axis that the logits depend on,
or a `Constant` node that a layer reads as its weight. Scalars, shapes and settings of operators stay fixed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter
from onnx.inliner import inline_local_functions

from edge.task import CLASSIFICATION, MULTI_LABEL, REGRESSION
from export.draft import Draft
from export.errors import ExportError
from export.graph.node import constant_value
from export.graph.prune import prune
from export.model import OLDEST, Model
from export.onnx_file import read
from export.transforms import batch_norm, inputs
from export.transforms.constants import constants
from export.transforms.control_flow import write_out
from export.transforms.expand import CONTROL, INTEGER, expand, opset_of
from export.transforms.float_weights import initializers, widen
from export.transforms.free_batch import free_batch
from export.transforms.retie import retie
from export.transforms.softmax import written_out
from export.transforms.untie import own_statistics, untie

SETTINGS = {
    "BatchNormalization": (3, 4),  # running statistics are measured, not trained
    "Clip": (1, 2),
    "Dropout": (1,),
    "OneHot": (2,),
    "Pad": (2,),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
}
"""Inputs that are settings of their operator even where they are floats."""


def load(
    path: Path,
    logits: str | None = None,
    *,
    keep_ties: bool = False,
    dims: Mapping[str, int] | None = None,
    shape: tuple[int, ...] | None = None,
    task: str | None = None,
) -> Model:
    """Read an ONNX file.

    Args:
        path: the file; external data lies beside it.
        logits: the value to train, where the model has several outputs.
        keep_ties: train an initializer that several nodes read as one parameter.
        dims: sizes of the inputs' free axes, by name.
        shape: of a sample, which says the same for all axes.
        task: what the model is for, if somebody said it; of a regression, a final Sigmoid or Softmax stays.

    Returns:
        The model in the exporter's form.

    Raises:
        ExportError: the file is missing, not ONNX, corrupt, or no classifier.
    """
    proto = read(path)
    known: dict[str, Any] = {"keep_ties": keep_ties, "dims": dims, "shape": shape, "task": task}
    return from_proto(proto, name=path.stem, origin=str(path), logits=logits, **known)


def from_proto(
    proto: onnx.ModelProto,
    *,
    name: str,
    origin: str,
    logits: str | None = None,
    keep_ties: bool = False,
    dims: Mapping[str, int] | None = None,
    shape: tuple[int, ...] | None = None,
    task: str | None = None,
) -> Model:
    """Bring a model to the exporter's form.

    Args:
        proto: the model as onnx read it; it is left as it is.
        name: what the bundle will call it.
        origin: where it came from, for messages.
        logits: the value to train, where the model has several outputs.
        keep_ties: train an initializer that several nodes read as one parameter.
        dims: sizes of the inputs' free axes, by name.
        shape: of a sample, which says the same for all axes.
        task: what the model is for, if somebody said it; of a regression, a final Sigmoid or Softmax stays.

    Returns:
        The model, all its float32 weights trained.

    Raises:
        ExportError: it is not valid, not a classifier, or cannot be trained.
    """
    draft = Draft(proto, name, origin, logits, keep_ties, task=task, dims=dims or {}, shape=shape)
    for step in STEPS:
        draft = step(draft)
    model = _model(draft)
    batch = _fixed_batch(draft)
    return batch_norm.select(free_batch(model, batch) if batch else model, "as-is")


def check(draft: Draft) -> Draft:
    """Refuse what onnx's checker refuses."""
    try:
        onnx.checker.check_model(draft.proto)
    except (onnx.checker.ValidationError, RuntimeError) as reason:
        raise ExportError(f"{draft.origin} is not a valid ONNX model: {str(reason).splitlines()[0]}") from None
    return draft


def fix_axes(draft: Draft) -> Draft:
    """Give free axes the sizes that somebody said."""
    proto, sizes = inputs.fix_axes(draft.proto, draft.dims, draft.shape, draft.origin)
    return draft.noted(f"free axes were fixed: {', '.join(sizes)}", proto=proto) if sizes else draft


def choose_logits(draft: Draft) -> Draft:
    """Train the value that was named, the only output, or the only float output (labels come in integers)."""
    graph, origin = draft.proto.graph, draft.origin
    if draft.logits is not None:
        if draft.logits not in {y for node in graph.node for y in node.output}:
            raise ExportError(
                f"{origin} has no value '{draft.logits}' for --logits; its outputs are {_quoted(graph.output)}"
            )
        return draft
    if len(graph.output) == 1:
        return replace(draft, logits=graph.output[0].name)
    floats = [o.name for o in graph.output if o.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    if len(floats) == 1:
        return draft.noted(f"of its outputs {_quoted(graph.output)}, '{floats[0]}' is trained", logits=floats[0])
    raise ExportError(f"{origin} must have exactly one output; it has {_quoted(graph.output)}: say which with --logits")


def write_out_control_flow(draft: Draft) -> Draft:
    """Write out the branch of an If and the passes of a Loop or Scan whose course is known."""
    proto, written = write_out(draft.proto)
    if written.branches:
        draft = draft.noted(f"of a known condition one branch was kept: {', '.join(written.branches)}")
    if written.loops:
        draft = draft.noted(f"loops were written out: {', '.join(written.loops)}", repeated=frozenset(written.repeated))
    return keep_logits_only(replace(draft, proto=proto)) if written.branches or written.loops else draft


def keep_logits_only(draft: Draft) -> Draft:
    """Drop every node that the logits do not depend on, and every other output."""
    assert draft.logits is not None
    proto = onnx.ModelProto()
    proto.CopyFrom(draft.proto)
    outputs = [o for o in draft.proto.graph.output if o.name == draft.logits]
    del proto.graph.node[:], proto.graph.output[:]
    proto.graph.node.extend(prune(draft.proto.graph.node, [draft.logits]))
    proto.graph.output.extend(outputs or [helper.make_tensor_value_info(draft.logits, onnx.TensorProto.FLOAT, None)])
    return replace(draft, proto=proto)


def widen_floats(draft: Draft) -> Draft:
    """Compute in float32 what the model computes in half or double precision."""
    proto, precisions = widen(draft.proto)
    if not precisions:
        return draft
    return draft.noted(f"its {' and '.join(precisions)} numbers became float32, in which it is trained", proto=proto)


def make_initializers(draft: Draft) -> Draft:
    """Train weights that are Constant or ConstantOfShape nodes."""
    proto, weights = initializers(draft.proto, constant_value)
    if not weights:
        return draft
    return draft.noted(f"weights that were constant nodes became parameters: {', '.join(weights)}", proto=proto)


def separate_statistics(draft: Draft) -> Draft:
    """Never train a running mean or variance because an exporter merged it with an equal weight."""
    return replace(draft, proto=own_statistics(draft.proto))


def tie_weights(draft: Draft) -> Draft:
    """Undo the copying of a token table that is the output layer, too."""
    proto, names = retie(draft.proto)
    if not names:
        return draft
    listed = ", ".join(f"{name} is {table}" for name, table in names.items())
    return draft.noted(f"one number for number with a token table, so one parameter with it: {listed}", proto=proto)


def untie_weights(draft: Draft) -> Draft:
    """Undo the merging of equal initializers, unless they are to stay one."""
    if draft.keep_ties:
        return draft
    untied = untie(draft.proto, draft.repeated)
    if untied.kept:
        draft = draft.noted(f"shared by design, so one parameter: {', '.join(untied.kept)}")
    if not untied.copied:
        return draft
    return draft.noted(
        f"read by several nodes, so each was given its own copy: {', '.join(untied.copied)} (exporters merge equal "
        "weights; --keep-ties trains them as one)",
        proto=untied.proto,
    )


def convert_opset(draft: Draft) -> Draft:
    """Convert an older operator set to the one that the graphs are written for."""
    opset = opset_of(draft.proto)
    if opset >= OLDEST:
        return draft
    try:
        proto = version_converter.convert_version(draft.proto, OLDEST)
    except Exception as reason:  # the converter's own errors have no public base class
        brief = str(reason).splitlines()[0]
        raise ExportError(
            f"{draft.origin} has operator set {opset} and cannot be converted to {OLDEST}: {brief}"
        ) from None
    # Before version 4, every initializer had to be an input, too; those that are added here are not.
    proto.ir_version = max(proto.ir_version, 4)
    return draft.noted(f"operator set {opset} was converted to {OLDEST}", proto=proto)


def inline_functions(draft: Draft) -> Draft:
    """Write the model's own functions out."""
    return replace(draft, proto=inline_local_functions(draft.proto)) if draft.proto.functions else draft


def expand_operators(draft: Draft) -> Draft:
    """Replace operators that have no gradient rule by their definitions."""
    return replace(draft, proto=expand(draft.proto))


def refuse_untrainable(draft: Draft) -> Draft:
    """Name the operator that cannot be trained, and the way out."""
    graph, origin = draft.proto.graph, draft.origin
    foreign = sorted({n.domain for n in graph.node if n.domain not in ("", "ai.onnx")})
    if foreign:
        raise ExportError(
            f"{origin} uses operators of {', '.join(foreign)}; only standard ONNX operators can be trained"
        )
    for node in graph.node:
        where = f"{origin}: node '{node.name or node.output[0]}' ({node.op_type})"
        if node.op_type in CONTROL:
            raise ExportError(
                f"{where}: control flow has no gradient rule where the data or the number of samples decide; "
                "export with the condition fixed, or the loop unrolled"
            )
        if node.op_type in INTEGER or node.op_type.startswith("QLinear"):
            raise ExportError(f"{where}: a quantised model cannot be trained; start from the float one it was made of")
        if node.op_type in ("SequenceConstruct", "SplitToSequence", "Optional"):
            raise ExportError(f"{where}: sequences have no gradient rule; export the model with plain tensors")
    return draft


def remove_softmax(draft: Draft) -> Draft:
    """Train what goes into a final softmax or sigmoid: the losses want logits, but those of a regression outputs."""
    assert draft.logits is not None
    if draft.task == REGRESSION.name:
        return draft
    producers = {y: node for node in draft.proto.graph.node for y in node.output}
    node = producers.get(draft.logits)
    while node is not None and node.op_type in ("Identity", "Cast"):
        node = producers.get(node.input[0])
    if node is not None and (logits := written_out(node, producers)):
        draft = replace(draft, task=CLASSIFICATION.name)
        text = "the final softmax, written out in Exp and Div, was removed: the losses want logits"
        return draft.noted(text, logits=logits)
    if node is None or node.op_type not in ("Softmax", "LogSoftmax", "Sigmoid"):
        return draft
    labels = node.op_type == "Sigmoid"
    meaning = (
        "; its labels do not exclude one another: --task multi-label, unless --task says otherwise" if labels else ""
    )
    draft = replace(draft, task=(MULTI_LABEL if labels else CLASSIFICATION).name)
    return draft.noted(f"the final {node.op_type} was removed: the losses want logits{meaning}", logits=node.input[0])


def flatten_logits(draft: Draft) -> Draft:
    """Give (N, K) where the model gives (N, K, 1, 1), as one that is all convolutions does."""
    assert draft.logits is not None
    dims = draft.proto.graph.output[0].type.tensor_type.shape.dim
    if len(dims) < 3 or any(d.dim_value != 1 for d in dims[2:]):
        return draft
    flat = f"{draft.logits}/flat"
    proto = onnx.ModelProto()
    proto.CopyFrom(draft.proto)
    proto.graph.node.append(helper.make_node("Flatten", [draft.logits], [flat], name=flat, axis=1))
    shape = ["N", "K", *[1] * (len(dims) - 2)]
    return draft.noted(f"its logits {shape} became (N, K)".replace("'", ""), proto=proto, logits=flat)


def note_batch(draft: Draft) -> Draft:
    """Note that a fixed batch size will be made free (`export.transforms.free_batch` does it)."""
    batch = _fixed_batch(draft)
    return draft.noted(f"its batch, fixed at {batch}, was made free") if batch else draft


STEPS: tuple[Callable[[Draft], Draft], ...] = (
    check,
    fix_axes,
    choose_logits,
    keep_logits_only,
    write_out_control_flow,
    widen_floats,
    convert_opset,
    make_initializers,
    tie_weights,
    untie_weights,
    separate_statistics,
    inline_functions,
    expand_operators,
    refuse_untrainable,
    remove_softmax,
    flatten_logits,
    note_batch,
)
"""From what an exporter wrote to a graph of standard operators that computes logits."""


def _model(draft: Draft) -> Model:
    """Take the graph apart into nodes, parameters and constants."""
    logits = draft.logits
    assert logits is not None
    graph = draft.proto.graph
    literals = {n.output[0]: constant_value(n) for n in graph.node if n.op_type == "Constant"}
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer} | literals
    nodes = prune([n for n in graph.node if n.op_type != "Constant"], [logits])
    first, *others = inputs.read(graph, draft.origin, {name for node in nodes for name in node.input})
    nodes = inputs.cast_narrow(nodes, graph)
    read = {name for node in nodes for name in node.input}
    settings = {x for n in nodes for i in SETTINGS.get(n.op_type, ()) for x in n.input[i : i + 1]}
    trained = read - settings - literals.keys()
    parameters = {k: v for k, v in values.items() if k in trained and v.dtype == np.float32 and v.ndim}
    notes, fixed = draft.notes, constants(nodes, parameters)
    parameters = {k: v for k, v in parameters.items() if k not in fixed}
    if fixed:
        listed = ", ".join(f"{name} ({kind})" for name, kind in fixed.items())
        notes = (*notes, f"constants, not trained: {listed}; --train all,NAME trains one")
    if not parameters:
        raise ExportError(
            f"{draft.origin} has no float32 parameters to train: none of its float initializers is read by a node "
            "that the logits depend on"
        )
    return Model(
        name=draft.name,
        opset=opset_of(draft.proto),
        nodes=tuple(nodes),
        input=first.name,
        shape=first.shape,
        dtype=first.dtype,
        others=tuple(others),
        output=logits,
        parameters=parameters,
        constants={k: v for k, v in values.items() if k in read and k not in parameters},
        task=draft.task,
        notes=notes,
    )


def _fixed_batch(draft: Draft) -> int | None:
    """The number of samples that the file was written for, if it was for one."""
    dims = [x.type.tensor_type.shape.dim for x in inputs.outer(draft.proto.graph)]
    return next((axes[0].dim_value for axes in dims if axes and axes[0].dim_value), None)


def _quoted(values: Iterable[onnx.ValueInfoProto]) -> str:
    return ", ".join(f"'{v.name}'" for v in values) or "none"
