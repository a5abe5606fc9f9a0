"""A blob as several payloads that a broker takes: each is one line of JSON, a line feed, and a piece of the blob.

{"digest": "<SHA-256 of the whole, hex>", "part": 0, "parts": 3, "bytes": 900000}

Unlike messages between neighbours (`edge.codec`), a blob has no round and no sender that repeats it: whoever needs it
asks for all of it again.
"""

import hashlib
import json
from dataclasses import dataclass, field

from edge.errors import MessageError

PART_SIZE = 400_000
"""Bytes of the blob in a payload: with its line of JSON, a payload is below the 512 kB that brokers take at least."""
LARGEST = 100_000_000
"""Bytes of a blob, at most: a bound on what whoever announces one can make the receiver hold."""
LONGEST_HEADER = 1000
"""Bytes of the line of JSON, at most."""


def split(content: bytes) -> list[bytes]:
    """Cut a blob into payloads, in order; at least one.

    >>> assembler = Assembler()
    >>> [assembler.add(payload) for payload in split(b"a small blob")]
    [b'a small blob']
    """
    digest = hashlib.sha256(content).hexdigest()
    pieces = [content[at : at + PART_SIZE] for at in range(0, len(content), PART_SIZE)] or [b""]
    header = {"digest": digest, "parts": len(pieces), "bytes": len(content)}
    return [json.dumps({**header, "part": number}).encode() + b"\n" + piece for number, piece in enumerate(pieces)]


@dataclass(frozen=True)
class _Header:
    digest: str
    part: int
    parts: int
    size: int


@dataclass
class Assembler:
    """Puts one blob at a time together from payloads in any order, repeated or not.

    The first payload of another blob takes the place of one that is not complete.
    """

    _digest: str = ""
    _count: int = 0
    _pieces: dict[int, bytes] = field(default_factory=dict)

    def add(self, payload: bytes) -> bytes | None:
        """Add one payload.

        Returns:
            The blob, once it is complete; else None.

        Raises:
            MessageError: it is no payload of a blob, or the complete blob is not the announced one.
        """
        line, feed, piece = payload.partition(b"\n")
        header = _header(line if feed else b"", len(piece))
        if (header.digest, header.parts) != (self._digest, self._count):
            self._begin(header.digest, header.parts)
        self._pieces[header.part] = piece
        if len(self._pieces) < header.parts:
            return None
        content = b"".join(self._pieces[number] for number in range(header.parts))
        self._begin("", 0)
        if hashlib.sha256(content).hexdigest() != header.digest:
            raise MessageError("the parts do not make what was announced")
        return content

    def _begin(self, digest: str, count: int) -> None:
        self._digest, self._count, self._pieces = digest, count, {}


def _header(line: bytes, length: int) -> _Header:
    """The header of a payload whose piece has `length` bytes. Raises MessageError: there is none, or no such blob."""
    try:
        values = json.loads(line) if len(line) < LONGEST_HEADER else {}
        header = _Header(*(values[key] for key in ("digest", "part", "parts", "bytes")))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise MessageError("not a part of anything") from None
    numbers = header.part, header.parts, header.size
    if not isinstance(header.digest, str) or not all(type(number) is int for number in numbers):
        raise MessageError("not a part of anything")
    expected_parts = max(1, -(-header.size // PART_SIZE))
    if not (0 <= header.part < header.parts == expected_parts and 0 <= header.size <= LARGEST):
        raise MessageError(f"a part of at most {LARGEST:,} bytes was expected")
    if length != min(PART_SIZE, header.size - header.part * PART_SIZE):
        raise MessageError(f"part {header.part} of {header.parts} has {length} bytes")
    return header
