"""As much of ONNX's file format as a rewrite of nodes needs: protocol buffers, read and written field by field.

A message is a list of (number, value): an int for a varint, bytes for the rest; a fixed32 is four bytes in a `Fixed`.
Unknown fields stay as they are and where they are.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Fields = list[tuple[int, Any]]
FIXED32, FIXED64, BYTES, VARINT = 5, 1, 2, 0


class Fixed(bytes):
    """Four or eight bytes, whose length is not written."""


def parse(data: bytes) -> Fields:
    """Take a message apart. Raises ValueError: it is none."""
    fields: Fields = []
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            fields.append((key >> 3, value))
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
            fields.append((key >> 3, data[at : at + size]))
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
            fields.append((key >> 3, Fixed(data[at : at + size])))
        else:
            raise ValueError(f"a field of kind {kind}")
        at += size
    if at != len(data):
        raise ValueError("the message is cut short")
    return fields


def dump(fields: Fields) -> bytes:
    """Put a message together."""
    return b"".join(_parts(fields))


def _parts(fields: Fields) -> Iterator[bytes]:
    for number, value in fields:
        if isinstance(value, int):
            yield _written(number << 3 | VARINT) + _written(value)
        elif isinstance(value, Fixed):
            yield _written(number << 3 | (FIXED32 if len(value) == 4 else FIXED64)) + value
        else:
            yield _written(number << 3 | BYTES) + _written(len(value)) + value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("the message is cut short")
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _written(value: int) -> bytes:
    value &= 2**64 - 1
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def signed(value: int) -> int:
    """Return the int64 that a varint stands for."""
    return value - 2**64 if value >= 2**63 else value


@dataclass(eq=False)
class Node:
    """A NodeProto: its operator with the domain in front ("" is ONNX's own), and its attributes, numbers only."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    source: bytes = b""

    @classmethod
    def parse(cls, data: bytes) -> "Node":
        """Read one."""
        node, domain = cls("", [], [], source=data), ""
        for number, value in parse(data):
            if number == 1:
                node.inputs.append(value.decode())
            elif number == 2:
                node.outputs.append(value.decode())
            elif number == 4:
                node.op = value.decode()
            elif number == 7:
                domain = value.decode()
            elif number == 5:
                name, content = _attribute(value)
                node.attributes[name] = content
        node.op = f"{domain}.{node.op}" if domain not in ("", "ai.onnx") else node.op
        return node

    def dump(self) -> bytes:
        """Write it: as it was read, or anew."""
        if self.source:
            return self.source
        domain, _, name = self.op.rpartition(".")
        fields: Fields = [(1, v.encode()) for v in self.inputs] + [(2, v.encode()) for v in self.outputs]
        fields += [(4, name.encode()), *((5, _attribute_bytes(k, v)) for k, v in self.attributes.items())]
        return dump([*fields, (7, domain.encode())])


def _attribute(data: bytes) -> tuple[str, Any]:
    name, value, ints = "", None, []
    for number, content in parse(data):
        if number == 1:
            name = content.decode()
        elif number == 2:
            (value,) = struct.unpack("<f", content)
        elif number == 3:
            value = signed(content)
        elif number == 8:
            ints += [content] if isinstance(content, int) else _packed(content)
    return name, [signed(i) for i in ints] if value is None else value


def _packed(data: bytes) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _attribute_bytes(name: str, value: float) -> bytes:
    if isinstance(value, int):
        return dump([(1, name.encode()), (3, value), (20, 2)])
    return dump([(1, name.encode()), (2, Fixed(struct.pack("<f", value))), (20, 1)])


def tensor(data: bytes) -> tuple[str, list[int], bytes]:
    """Read a TensorProto: (name, shape, content of `raw_data`; b"" if its values are elsewhere)."""
    name, dims, raw = "", [], b""
    for number, value in parse(data):
        if number == 1:
            dims += [value] if isinstance(value, int) else _packed(value)
        elif number == 8:
            name = value.decode()
        elif number == 9:
            raw = value
    return name, dims, raw
