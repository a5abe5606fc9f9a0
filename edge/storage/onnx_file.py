"""ONNX files as bytes, for boards, which have no `onnx` package: parameters go in, and what nobody needs goes out.

The numbers of fields are those of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
"""

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from edge.interfaces import Array
from edge.storage.protobuf import content, fields, number, text

GRAPH, METADATA = 7, 14  # of ModelProto
NODE, INITIALIZER, INPUT, OUTPUT, VALUE_INFO = 1, 5, 11, 12, 13  # of GraphProto
NODE_INPUT, NODE_OUTPUT = 1, 2  # of NodeProto
DIMS, TYPE, NAME, RAW_DATA = 1, 2, 8, 9  # of TensorProto
VALUE_NAME = 1  # of ValueInfoProto
NAMED_BY = {INITIALIZER: NAME, INPUT: VALUE_NAME}
"""the field that holds the name of a constant, and of an input"""
TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11}


def with_parameters(model: bytes, parameters: Mapping[str, Array]) -> bytes:
    """Put parameters into a model that takes them as inputs.

    Args:
        model: a ModelProto.
        parameters: by the names of inputs.

    Returns:
        The model, with initializers instead of those inputs.

    Raises:
        ValueError: it is no ModelProto.
    """
    return b"".join(
        content(GRAPH, b"".join(_filled(field.content, parameters))) if field.number == GRAPH else field.raw
        for field in fields(model)
    )


def extract(model: bytes, outputs: Collection[str], parameters: Mapping[str, Array]) -> bytes:
    """Take the part of a model that computes some of its values, with its parameters inside.

    Args:
        model: a ModelProto without control flow, with a type for every value.
        outputs: names of the values, in the order in which the part gives them.
        parameters: by the names of inputs; those that the part does not read are left out.

    Returns:
        The part, as a ModelProto.

    Raises:
        KeyError: the model has no such value.
        ValueError: it is no ModelProto.
    """
    return b"".join(
        content(GRAPH, b"".join(_part(field.content, outputs, parameters))) if field.number == GRAPH else field.raw
        for field in fields(model)
        if field.number != METADATA  # they describe the whole
    )


def _filled(graph: bytes, parameters: Mapping[str, Array]) -> Iterator[bytes]:
    for field in fields(graph):
        if field.number != INPUT or _text(field.content, VALUE_NAME) not in parameters:
            yield field.raw
    for name, value in parameters.items():
        yield content(INITIALIZER, tensor(name, value))


def _part(graph: bytes, outputs: Collection[str], parameters: Mapping[str, Array]) -> Iterator[bytes]:
    declarations = {
        _text(field.content, VALUE_NAME): field.content
        for field in fields(graph)
        if field.number in (OUTPUT, VALUE_INFO)
    }
    nodes = [field.content for field in fields(graph) if field.number == NODE]
    computed = {name for node in nodes for name in _texts(node, NODE_OUTPUT)}
    for name in outputs:
        if name not in declarations or name not in computed:
            raise KeyError(
                f"there is no value '{name}'; its values are {', '.join(sorted(computed & set(declarations)))}"
            )
    kept, read = [], set(outputs)
    for node in reversed(nodes):
        if not read.isdisjoint(_texts(node, NODE_OUTPUT)):
            kept.append(node)
            read.update(_texts(node, NODE_INPUT))
    for node in reversed(kept):
        yield content(NODE, node)
    for field in fields(graph):
        if field.number in NAMED_BY:
            kept_out = parameters.keys() if field.number == INPUT else ()
            if _text(field.content, NAMED_BY[field.number]) in read - set(kept_out):
                yield field.raw
        elif field.number not in (NODE, OUTPUT, VALUE_INFO):
            yield field.raw
    for name, value in parameters.items():
        if name in read:
            yield content(INITIALIZER, tensor(name, value))
    for name in outputs:
        yield content(OUTPUT, declarations[name])


def tensor(name: str, value: Array) -> bytes:
    """Encode an array as a TensorProto."""
    little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    dims = b"".join(number(DIMS, size) for size in value.shape)
    return dims + number(TYPE, TYPES[value.dtype.name]) + text(NAME, name) + content(RAW_DATA, little.tobytes())


def _texts(message: bytes, field_number: int) -> list[str]:
    return [field.content.decode() for field in fields(message) if field.number == field_number]


def _text(message: bytes, field_number: int) -> str:
    return next(iter(_texts(message, field_number)))
