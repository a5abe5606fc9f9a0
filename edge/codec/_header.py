"""The 40 bytes that open every payload. Little-endian.

    at  size  field
     0     2  "Mu"
     2     1  version of this format, 1
     3     1  kind of message (KINDS)
     4     1  coding of the body: the ID of a file in this folder; 0 for a request
     5     1  reserved, 0
     6     2  chunk index, from 0
     8     2  chunk count, from 1
    10     2  reserved, 0
    12     4  round, from 1
    16     8  digest: what the values are about
    24     4  rows of the whole message, from 1; 0 in a request
    28     4  columns of the whole message, from 1; 0 in a request
    32     4  length of this chunk's body, in bytes
    36     4  CRC-32 (IEEE 802.3) of bytes 0..35 followed by the body

Every chunk carries the whole header, so that any of them explains the message it belongs to. The
checksum finds every single flipped bit; it is no protection against malice, which the broker's
access rules and the receiver's checks of every value are for.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from edge.errors import MessageError

VERSION = 1
KINDS = {
    "soft-labels": 1,  # distributions on reference samples: (R, K), of several heads one below the other
    "weights": 2,  # all parameters: (1, P)
    "class-outputs": 3,  # mean outputs by label: (K, K); a row of zeros for a label nobody has
    "features": 4,  # embeddings of samples: (n, F)
    "logits": 5,  # of samples: (n, K)
    "labels": 6,  # of samples: (n, 1)
    "samples": 7,  # inputs and what is known of them: (n, ...)
    "mass": 8,  # running sums of push-sum: (R + 1, K)
    "status": 9,  # a device to its centre: (1, a few numbers)
    "verdict": 10,  # a centre to its device: (1, 1)
    "outcome": 11,  # a centre to its device, with weights: (1, 1)
    "codes": 12,  # integer codes of soft labels, or their change: (R, K)
    "proxies": 13,  # proxy states and the policy there: (n, 1 + actions)
}
RETRANSMIT = "again"
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
_NAMES = {number: name for name, number in KINDS.items()}


@dataclass(frozen=True)
class Chunk:
    """One payload, checked. rows, columns: of the whole message."""

    kind: str
    coding: int
    index: int
    count: int
    round: int
    digest: bytes
    rows: int
    columns: int
    body: bytes


def pack(chunk: Chunk) -> bytes:
    """Header and body as bytes."""
    head = _FORMAT.pack(
        _MAGIC,
        VERSION,
        KINDS[chunk.kind],
        chunk.coding,
        0,
        chunk.index,
        chunk.count,
        0,
        chunk.round,
        chunk.digest,
        chunk.rows,
        chunk.columns,
        len(chunk.body),
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
    magic, version, kind, coding, zero, index, count, zeros, number, digest, rows, columns, length = _FORMAT.unpack(
        head
    )
    if magic != _MAGIC:
        raise MessageError("not a Murmur message: it does not begin with 'Mu'")
    if version != VERSION:
        raise MessageError(f"the message has format version {version}, this device reads version {VERSION}")
    if length != len(body):
        raise MessageError(f"the header announces a body of {length} bytes, there are {len(body)}")
    if zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") != payload[_FORMAT.size : HEADER]:
        raise MessageError("the checksum does not fit: the message was altered on its way")
    if kind not in _NAMES:
        raise MessageError(f"message kind {kind} is not known to version {VERSION}")
    if zero or zeros:
        raise MessageError(f"the reserved bytes of a version {VERSION} header are 0, here {zero} and {zeros}")
    most = 1 + WIDEST * rows * columns // (CHUNK - HEADER)
    # 2^32 - 1 rows of no columns have no values and no body, and still ask for 32 GB of row sums
    empty = coding != 0 and rows * columns == 0
    if not index < count <= most or number == 0 or empty or rows * columns > LARGEST:
        raise MessageError(f"impossible header: chunk {index} of {count}, round {number}, {rows} x {columns} values")
    return Chunk(_NAMES[kind], coding, index, count, number, digest, rows, columns, body)


@dataclass(frozen=True)
class Request:
    """What is asked for again. missing: only these chunks, of a message of `count`; all of it if there are none."""

    kind: str
    round: int
    missing: tuple[int, ...] = ()
    count: int = 0


def request(kind: str, number: int, digest: bytes, missing: Sequence[int] = (), count: int = 0) -> bytes:
    """The payload that asks for a message of round `number` again: a header, and which chunks of `count` it wants."""
    body = struct.pack(f"<{1 + len(missing)}H", count, *missing) if missing else b""
    return pack(Chunk(kind, 0, 0, 1, number, digest, 0, 0, body))


def requested(payload: bytes) -> Request:
    """What a request asks for. Raises MessageError."""
    chunk = decode(payload)
    numbers = struct.unpack(f"<{len(chunk.body) // 2}H", chunk.body[: len(chunk.body) // 2 * 2])
    if chunk.coding or chunk.rows or chunk.columns or len(chunk.body) % 2:
        raise MessageError("a request has no values")
    count, missing = (numbers[0], numbers[1:]) if numbers else (0, ())
    if numbers and not (missing and sorted(set(missing)) == list(missing) and missing[-1] < count):
        raise MessageError(f"a request for chunks {missing} of {count}")
    return Request(chunk.kind, chunk.round, missing, count)
