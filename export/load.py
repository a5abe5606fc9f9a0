"""An ONNX model read, checked, and brought to one form.

Constants are told from parameters: a parameter is a float initializer of at least one axis that
reaches the output; scalars, shapes and `Constant` nodes stay fixed.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper, version_converter
from onnx.inliner import inline_local_functions, inline_selected_functions

from export.errors import ExportError
from export.gradients import RULES, ZERO
from export.graph.builder import Array, Value
from export.graph.prune import prune
from export.model import OLDEST, Model
from export.transforms import batch_norm


def load(path: Path, logits: str | None = None) -> Model:
    """Read an ONNX file. Raises ExportError: not there, not ONNX, corrupt, or not a classifier.

    logits: the value to train, where the model has several outputs.
    """
    if not path.is_file():
        raise ExportError(f"no ONNX file at {path}")
    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as reason:  # protobuf's DecodeError, missing external data, ... have no common base
        brief = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
        raise ExportError(
            f"{path} is not a readable ONNX file ({brief}); it may be cut short: export it again"
        ) from None
    for tensor in proto.graph.initializer:
        where = next((e.value for e in tensor.external_data if e.key == "location"), None)
        if where and not (path.parent / where).is_file():
            raise ExportError(
                f"{path} keeps '{tensor.name}' in '{where}', which is not beside it; copy it there, "
                "or export the model with its weights inside"
            )
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as reason:  # onnx raises what its C++ side does
        raise ExportError(f"{path}: its external data cannot be read: {str(reason).splitlines()[0]}") from None
    return from_proto(proto, name=path.stem, origin=str(path), logits=logits)


def from_proto(proto: onnx.ModelProto, *, name: str, origin: str, logits: str | None = None) -> Model:
    """Bring a model to the exporter's form. `origin` is only for messages."""
    notes: list[str] = []
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, RuntimeError) as reason:
        raise ExportError(f"{origin} is not a valid ONNX model: {str(reason).splitlines()[0]}") from None
    output = _logits(proto.graph, logits, origin, notes)
    proto = _reduced(proto, output)
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST:
        proto = _converted(proto, opset, origin)
        notes.append(f"operator set {opset} was converted to {OLDEST}")
        opset = OLDEST
    if proto.functions:
        proto = inline_local_functions(proto)
    proto = expanded(proto)

    graph = proto.graph
    foreign = sorted({n.domain for n in graph.node if n.domain not in ("", "ai.onnx")})
    if foreign:
        raise ExportError(
            f"{origin} uses operators of {', '.join(foreign)}; only standard ONNX operators can be trained"
        )
    _refuse(graph, origin)
    values = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type == "Constant":
            values[node.output[0]] = constant_value(node)
        else:
            nodes.append(node)
    constants_made = {n.output[0] for n in graph.node if n.op_type == "Constant"}

    x = _only([i for i in graph.input if i.name not in values], "input", origin)
    if (last := _squashing(nodes, output)) is not None:
        output = last.input[0]
        notes.append(f"the final {last.op_type} was removed: the losses want logits")
    nodes = prune(nodes, [output])
    if batch := x.type.tensor_type.shape.dim[0].dim_value:
        notes.append(f"its batch, fixed at {batch}, was made free")
    read = {name for node in nodes for name in node.input}
    fixed = {x for n in nodes for i in SETTINGS.get(n.op_type, ()) for x in n.input[i : i + 1]} | constants_made
    trainable = {k: v for k, v in values.items() if k in read - fixed and v.dtype == np.float32 and v.ndim}
    if not trainable:
        raise ExportError(
            f"{origin} has no float32 parameters to train (a quantised model cannot be trained: "
            "start from the float one)"
        )
    found = Model(
        name=name,
        opset=opset,
        nodes=tuple(nodes),
        input=x.name,
        shape=_sample_shape(x, origin),
        exported_batch=batch or None,
        output=output,
        parameters=trainable,
        constants={k: v for k, v in values.items() if k in read and k not in trainable},
        notes=tuple(notes),
    )
    return batch_norm.select(found, "as-is")


def expanded(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Operators without a rule that the specification defines by others are replaced by their definition."""
    unknown = {n.op_type for n in proto.graph.node if n.domain in ("", "ai.onnx")} - RULES.keys() - ZERO
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    defined = []
    for name in sorted(unknown - CONTROL - INTEGER):
        schema = onnx.defs.get_schema(name, opset)
        if schema.has_function or schema.has_context_dependent_function:  # type: ignore[attr-defined]
            defined.append(("", name))
    if not defined:
        return proto
    filled = onnx.ModelProto()
    filled.CopyFrom(proto)
    for node in filled.graph.node:
        if ("", node.op_type) in defined:  # the inliner knows no defaults
            written = {a.name for a in node.attribute}
            usual = onnx.defs.get_schema(node.op_type, opset).attributes
            defaults = (a.default_value for name, a in usual.items() if name not in written)
            node.attribute.extend(a for a in defaults if a.name)
    return inline_selected_functions(filled, defined, inline_schema_functions=True)


def _logits(graph: onnx.GraphProto, wanted: str | None, origin: str, notes: list[str]) -> Value:
    """The value to train: the one named, the only output, or the only one in float (labels come in integers)."""
    if wanted is not None:
        if wanted not in {y for node in graph.node for y in node.output}:
            raise ExportError(f"{origin} has no value '{wanted}' for --logits; its outputs are {_quoted(graph.output)}")
        return wanted
    floats = [o.name for o in graph.output if o.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    if len(graph.output) != 1 and len(floats) == 1:
        notes.append(f"of its outputs {_quoted(graph.output)}, '{floats[0]}' is trained")
        return str(floats[0])
    if len(graph.output) != 1:
        raise ExportError(
            f"{origin} must have exactly one output; it has {_quoted(graph.output)}: say which with --logits"
        )
    return str(graph.output[0].name)


def _quoted(values: Iterable[onnx.ValueInfoProto]) -> str:
    return ", ".join(f"'{v.name}'" for v in values) or "none"


def _reduced(proto: onnx.ModelProto, output: Value) -> onnx.ModelProto:
    """The model with one output, and only what it depends on."""
    nodes = prune(proto.graph.node, [output])
    reduced = onnx.ModelProto()
    reduced.CopyFrom(proto)
    known = [o for o in proto.graph.output if o.name == output]
    del reduced.graph.node[:], reduced.graph.output[:]
    reduced.graph.node.extend(nodes)
    reduced.graph.output.extend(known or [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)])
    return reduced


SETTINGS = {
    "BatchNormalization": (3, 4),  # running statistics are measured, not trained
    "Clip": (1, 2),
    "Dropout": (1,),
    "OneHot": (2,),
    "Pad": (2,),
    "Range": (0, 1, 2),
    "Resize": (1, 2, 3),
}
"""Inputs that are settings of their operator, in float though they may be."""

CONTROL = {"If", "Loop", "Scan"}
INTEGER = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"}


def _refuse(graph: onnx.GraphProto, origin: str) -> None:
    """Say of what cannot be trained where it is, and the way out."""
    for node in graph.node:
        where = f"{origin}: node '{node.name or node.output[0]}' ({node.op_type})"
        if node.op_type in CONTROL:
            raise ExportError(
                f"{where}: control flow has no gradient rule; export with the condition fixed, or the loop unrolled"
            )
        if node.op_type in INTEGER or node.op_type.startswith("QLinear"):
            raise ExportError(f"{where}: a quantised model cannot be trained; start from the float one it was made of")
        if node.op_type in ("SequenceConstruct", "SplitToSequence", "Optional"):
            raise ExportError(f"{where}: sequences have no gradient rule; export the model with plain tensors")


def _converted(proto: onnx.ModelProto, opset: int, origin: str) -> onnx.ModelProto:
    try:
        return version_converter.convert_version(proto, OLDEST)
    except (RuntimeError, ValueError) as reason:
        brief = str(reason).splitlines()[0]
        raise ExportError(f"{origin} has operator set {opset} and cannot be converted to {OLDEST}: {brief}") from None


def constant_value(node: onnx.NodeProto) -> Array:
    """What a Constant node holds."""
    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    if attribute.name.startswith("value_int"):
        return np.asarray(value, np.int64)
    if attribute.name.startswith("value_float"):
        return np.asarray(value, np.float32)
    raise ExportError(f"node '{node.name}' (Constant): '{attribute.name}' is not supported")


def _only(values: list[onnx.ValueInfoProto], noun: str, origin: str) -> onnx.ValueInfoProto:
    if len(values) != 1:
        raise ExportError(f"{origin} must have exactly one {noun}; it has {_quoted(values)}")
    return values[0]


def _squashing(nodes: list[onnx.NodeProto], value: Value) -> onnx.NodeProto | None:
    """The node that turns logits into the probabilities that `value` holds, if it does."""
    made = {y: node for node in nodes for y in node.output}
    node = made.get(value)
    while node is not None and node.op_type in ("Identity", "Cast"):
        node = made.get(node.input[0])
    return node if node is not None and node.op_type in ("Softmax", "LogSoftmax", "Sigmoid") else None


def _sample_shape(x: onnx.ValueInfoProto, origin: str) -> tuple[int, ...]:
    """Shape of one sample: all but the batch axis, which may be symbolic or fixed."""
    tensor = x.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        raise ExportError(f"{origin}: its input '{x.name}' must be float32")
    shape = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    sample = tuple(d for d in shape[1:] if d is not None)
    if len(shape) < 2 or len(sample) != len(shape) - 1:
        named = [d.dim_param or d.dim_value for d in tensor.shape.dim]
        raise ExportError(f"{origin}: its input '{x.name}' must be (batch, fixed sizes ...), but is {named}")
    return sample
