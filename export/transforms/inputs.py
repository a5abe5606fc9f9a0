"""The inputs of an ONNX file: what samples are, with their free axes fixed where somebody says their sizes.

A training step is written for samples of one shape, so of all axes only the batch's stays free.
"""

from collections.abc import Iterable, Mapping

import onnx
from onnx import TensorProto, helper

from export.errors import ExportError
from export.graph.builder import Value
from export.graph.node import with_names
from export.model import Input

FLAG = "fix it with --dim {name}=SIZE, or all of them with --shape"
DTYPES: dict[int, str] = {TensorProto.FLOAT: "float32", TensorProto.INT64: "int64", TensorProto.INT32: "int64"}
"""what the step takes; narrow token numbers are cast inside"""
EITHER = ("Gather", "Cast", "Shape", "OneHot")
"""operators that read token numbers of either width"""


def fix_axes(
    proto: onnx.ModelProto, dims: Mapping[str, int], shape: tuple[int, ...] | None, origin: str
) -> tuple[onnx.ModelProto, list[str]]:
    """Give free axes of a model's inputs their sizes.

    Args:
        proto: the model; it is left as it is.
        dims: sizes by the axes' names.
        shape: of one sample, where the model has one input.
        origin: the file, for messages.

    Returns:
        The model, and what was fixed, as in "T=16".

    Raises:
        ExportError: there is no such axis, it is the batch, or the file says another size.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    inputs = outer(fixed.graph)
    free = [axis for x in inputs for axis in x.type.tensor_type.shape.dim[1:] if not axis.HasField("dim_value")]
    batches = {x.type.tensor_type.shape.dim[0].dim_param for x in inputs if x.type.tensor_type.shape.dim} - {""}
    names = dict.fromkeys(axis.dim_param for axis in free if axis.dim_param)
    for name in dims:
        if name in batches:
            raise ExportError(f"--dim {name}: that is the batch axis of {origin}, which stays free; leave it out")
        if name not in names:
            listed = ", ".join(names) or "none"
            raise ExportError(f"--dim {name}: {origin} has no free axis of that name; free are: {listed}")
    notes = [f"{name}={size}" for name, size in dims.items()]
    for axis in free:
        if axis.dim_param in dims:
            axis.dim_value = dims[axis.dim_param]
    if shape is not None:
        notes += _shaped(inputs, shape, origin)
    for value in (*fixed.graph.output, *fixed.graph.value_info):  # what they say of shapes may be outdated now
        value.type.tensor_type.ClearField("shape")
    return (fixed, notes) if notes else (proto, [])


def _shaped(inputs: list[onnx.ValueInfoProto], shape: tuple[int, ...], origin: str) -> list[str]:
    text = "x".join(map(str, shape))
    if len(inputs) != 1:
        names = ", ".join(x.name for x in inputs)
        raise ExportError(f"--shape {text}: {origin} has the inputs {names}; name their axes with --dim NAME=SIZE")
    axes = list(inputs[0].type.tensor_type.shape.dim)[1:]
    written = [axis.dim_value if axis.HasField("dim_value") else axis.dim_param or "?" for axis in axes]
    if len(axes) != len(shape) or any(
        isinstance(have, int) and have != want for have, want in zip(written, shape, strict=False)
    ):
        raise ExportError(f"--shape {text}: samples of {origin} are {'x'.join(map(str, written)) or 'numbers'}")
    notes = [f"axis {i + 1} is {want}" for i, want in enumerate(shape) if not isinstance(written[i], int)]
    for axis, size in zip(axes, shape, strict=True):
        axis.dim_value = size
    return notes


def outer(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """List the inputs that the model's caller gives: those that are no weights."""
    values = {i.name for i in graph.initializer} | {n.output[0] for n in graph.node if n.op_type == "Constant"}
    return [i for i in graph.input if i.name not in values]


def read(graph: onnx.GraphProto, origin: str, used: Iterable[Value] | None = None) -> tuple[Input, ...]:
    """Read the inputs of a model.

    Args:
        graph: the model's.
        origin: the file, for messages.
        used: values that nodes read, where inputs that nobody reads are to be left out.

    Raises:
        ExportError: there is none, of another type, or with axes whose size nobody said.
    """
    read_values = None if used is None else set(used)
    inputs = [x for x in outer(graph) if read_values is None or x.name in read_values]
    if not inputs:
        raise ExportError(f"{origin} must have an input that its logits depend on; it has none")
    return tuple(Input(x.name, _sample(x, origin), _dtype(x, origin)) for x in inputs)


def cast_narrow(nodes: Iterable[onnx.NodeProto], graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Read int32 token numbers from the int64 ones that a step takes; where both will do, there is no cast."""
    nodes = list(nodes)
    for x in outer(graph):
        if x.type.tensor_type.elem_type == TensorProto.INT32:
            narrow = f"{x.name}/int32"
            rest = [n if n.op_type in EITHER else with_names(n, {x.name: narrow}) for n in nodes]
            if any(narrow in n.input for n in rest):
                rest.insert(0, helper.make_node("Cast", [x.name], [narrow], name=narrow, to=TensorProto.INT32))
            nodes = rest
    return nodes


def _dtype(x: onnx.ValueInfoProto, origin: str) -> str:
    kind = x.type.tensor_type.elem_type
    if kind not in DTYPES:
        name = TensorProto.DataType.Name(kind).lower()
        raise ExportError(f"{origin}: its input '{x.name}' must be float32, or int64 for token numbers; it is {name}")
    return DTYPES[kind]


def _sample(x: onnx.ValueInfoProto, origin: str) -> tuple[int, ...]:
    """The shape of one sample: all but the batch axis, which may be symbolic or fixed."""
    dims = x.type.tensor_type.shape.dim
    if len(dims) < 2:
        named = [d.dim_param or d.dim_value for d in dims]
        raise ExportError(f"{origin}: its input '{x.name}' must be (batch, fixed sizes ...), but is {named}")
    for i, axis in enumerate(dims[1:], start=1):
        if not axis.HasField("dim_value"):
            way = FLAG.format(name=axis.dim_param) if axis.dim_param else "give the sizes of a sample with --shape"
            name = f" '{axis.dim_param}'" if axis.dim_param else ""
            raise ExportError(
                f"{origin}: its input '{x.name}' must be (batch, fixed sizes ...), but axis {i}{name} is free: {way}"
            )
    return tuple(axis.dim_value for axis in dims[1:])
