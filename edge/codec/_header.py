"""The 40 bytes that open every payload. Little-endian.

    at  size  field
     0     2  "Mu"
     2     1  version of this format, 2 or 1
     3     1  kind of message (`edge.kinds`)
     4     1  coding of the body: the ID of a file in this folder; 0 for a request
     5     1  reserved, 0
     6     2  chunk index, from 0
     8     2  chunk count, from 1
    10     2  reserved, 0
    12     4  round, from 1
    16     8  digest: what the values are about
    24     4  rows of the whole message, from 1; 0 in a request
    28     4  columns of the whole message, from 1; 0 in a request
    32     4  version 2: the run that it belongs to; version 1: length of this chunk's body, in bytes
    36     4  CRC-32 (IEEE 802.3) of bytes 0..35 followed by the body

A transport delivers whole payloads, so that version 2 needs no length; the checksum finds one that was cut short.

Every chunk carries the whole header, so that any of them explains the message it belongs to. The
checksum finds every single flipped bit; it is no protection against malice, which the broker's
access rules and the receiver's checks of every value are for.
"""

import struct
import zlib
from dataclasses import dataclass

from edge import kinds
from edge.errors import MessageError

VERSION = 2
"""of what is written for a run; what is of no run is written, and read, in version 1"""
RETRANSMIT = kinds.RESERVED
"""Topic kind of a request: send your message of that kind and round again."""
CHUNK = 512_000
"""Longest payload, bytes, header included: brokers of today take at least this."""
LARGEST = 1 << 26
"""Most scalars a message may have (256 MB as float32): a bound on what a hostile header can ask for."""
WIDEST = 4
"""Most bytes a coding spends on a scalar, so that no header can announce more chunks than there are values."""

_MAGIC = b"Mu"
_FORMAT = struct.Struct("<2sBBBBHHHI8sIII")
HEADER = _FORMAT.size + 4


@dataclass(frozen=True)
class Chunk:
    """One payload, checked. rows, columns: of the whole message. run: None in version 1, which knows of none."""

    kind: str
    coding: int
    index: int
    count: int
    round: int
    digest: bytes
    rows: int
    columns: int
    body: bytes
    run: int | None = None


def pack(chunk: Chunk) -> bytes:
    """Write header and body. Raises ValueError: of a kind that nobody has declared."""
    if (kind := kinds.find(chunk.kind)) is None:
        raise ValueError(f"message kind '{chunk.kind}' is not declared; there are: {', '.join(kinds.declared())}")
    head = _FORMAT.pack(
        _MAGIC,
        1 if chunk.run is None else VERSION,
        kind.number,
        chunk.coding,
        0,
        chunk.index,
        chunk.count,
        0,
        chunk.round,
        chunk.digest,
        chunk.rows,
        chunk.columns,
        len(chunk.body) if chunk.run is None else chunk.run,
    )
    return head + zlib.crc32(chunk.body, zlib.crc32(head)).to_bytes(4, "little") + chunk.body


def decode(payload: bytes) -> Chunk:
    """Read and check one payload.

    Raises:
        MessageError: too short, altered, of another version, or impossible. Nothing else, whatever the bytes.
    """
    if not HEADER <= len(payload) <= CHUNK:
        raise MessageError(f"a payload has {HEADER} to {CHUNK} bytes, this one has {len(payload)}")
    head, body = payload[: _FORMAT.size], payload[HEADER:]
    magic, version, kind, coding, zero, index, count, zeros, number, digest, rows, columns, last = _FORMAT.unpack(head)
    if magic != _MAGIC:
        raise MessageError("not a Murmur message: it does not begin with 'Mu'")
    if version not in (1, VERSION):
        raise MessageError(f"the message has format version {version}, this device reads versions 1 and {VERSION}")
    if version == 1 and last != len(body):
        raise MessageError(f"the header announces a body of {last} bytes, there are {len(body)}")
    if zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") != payload[_FORMAT.size : HEADER]:
        raise MessageError("the checksum does not fit: the message was altered on its way")
    declared = kinds.numbered(kind)
    if declared is None:
        raise MessageError(f"message kind {kind} is not known to version {version}")
    if zero or zeros:
        raise MessageError(f"the reserved bytes of a version {version} header are 0, here {zero} and {zeros}")
    most = 1 + WIDEST * rows * columns // (CHUNK - HEADER)
    # 2^32 - 1 rows of no columns have no values and no body, and still ask for 32 GB of row sums
    empty = coding != 0 and rows * columns == 0
    if not index < count <= most or number == 0 or empty or rows * columns > LARGEST:
        raise MessageError(f"impossible header: chunk {index} of {count}, round {number}, {rows} x {columns} values")
    run = None if version == 1 else last
    return Chunk(declared.name, coding, index, count, number, digest, rows, columns, body, run)
