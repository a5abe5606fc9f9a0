"""Whether a model of ONNX keeps tensors outside its own file, which no bundle does.

Such a tensor names a file, and a runtime opens it: ONNX Runtime 1.17, the oldest that is supported, also one outside of
the model's folder (`../../etc/passwd`). A bundle's digests would not cover it. So they are refused at reading, by
whichever runtime. This walks the protocol buffer by the field numbers of onnx.proto and needs no `onnx` on a board.
"""

from pathlib import Path

from edge.errors import BundleError
from edge.storage.protobuf import Field, fields

_INNER = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""message -> number of a field -> the message in it, as far as tensors are below"""
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_DEEPEST = 100
"""messages in one another: four for each `If` or `Loop` in another"""


def is_used(model: bytes) -> bool:
    """Return whether any tensor of a model, in its graph or in an attribute, is in another file.

    Args:
        model: a ModelProto, as it is in a file.

    Raises:
        ValueError: it is none.
    """
    waiting = [("model", model, 0)]
    while waiting:
        kind, message, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError("its graphs are too deep in one another")
        for field in fields(message):
            if kind == "tensor" and (
                field.number == _EXTERNAL_DATA or (field.number == _DATA_LOCATION and _set(field))
            ):
                return True
            if (inner := _INNER[kind].get(field.number)) is not None:
                waiting.append((inner, field.content, depth + 1))
    return False


def _set(field: Field) -> bool:
    """Whether a number is not 0, which is the default."""
    return any(byte & 127 for byte in field.raw[1:])


def refuse(path: Path) -> None:
    """Make sure that a model is all in one file. Raises BundleError: it is not, or is no model of ONNX."""
    try:
        outside = is_used(path.read_bytes())
    except (OSError, ValueError) as reason:
        raise BundleError(f"{path} is not a model of ONNX: {reason}") from None
    if outside:
        raise BundleError(
            f"{path} has tensors in files outside of it (external data), which no device opens; export the bundle again"
        )
