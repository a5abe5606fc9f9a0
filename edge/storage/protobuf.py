"""Protocol buffers as bytes: enough to take fields out of a message and to put others in, without its schema.

A message is a row of fields, each a tag (number << 3 | wire type) and a value
(https://protobuf.dev/programming-guides/encoding). What is not looked at is handed on as it was.

Examples:
    >>> message = text(8, "weight") + number(2, 1)
    >>> [(field.number, field.content) for field in fields(message)]
    [(8, b'weight'), (2, b'')]
"""

from collections.abc import Iterator
from dataclasses import dataclass

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Attributes:
        number: as the schema has it.
        raw: tag and value.
        content: the bytes of a text, of bytes or of a message; none for numbers.
    """

    number: int
    raw: bytes
    content: bytes


def fields(message: bytes) -> Iterator[Field]:
    """Yield the fields of a message in their order. Raises ValueError: it is none."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        kind, begin = tag & 7, at
        if kind == VARINT:
            _, at = _varint(message, at)
        elif kind == BYTES:
            length, begin = _varint(message, at)
            at = begin + length
        elif kind in (FIXED32, FIXED64):
            at += 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind} at byte {start}: not a message")
        if at > len(message):
            raise ValueError(f"the message ends within the field at byte {start}")
        yield Field(tag >> 3, message[start:at], message[begin:at] if kind == BYTES else b"")


def number(field: int, value: int) -> bytes:
    """Encode a field that is an integer from 0."""
    return _encoded(field << 3 | VARINT) + _encoded(value)


def content(field: int, value: bytes) -> bytes:
    """Encode a field that is bytes or a message."""
    return _encoded(field << 3 | BYTES) + _encoded(len(value)) + value


def text(field: int, value: str) -> bytes:
    """Encode a field that is a text."""
    return content(field, value.encode())


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError(f"the number that ends at byte {at} is not whole")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
