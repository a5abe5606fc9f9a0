"""Whole messages: coded, cut into chunks, and put together again."""

from collections.abc import Sequence

import numpy as np

from edge import kinds
from edge.codec._header import CHUNK, HEADER, LARGEST, Chunk, pack
from edge.codec._registry import by_id, find
from edge.errors import MessageError
from edge.interfaces import Message

_PIECE = CHUNK - HEADER


def encode(message: Message, coding: str, bases: Sequence[Message] = (), run: int | None = None) -> list[bytes]:
    """Code a message: header and body, in as few payloads as fit.

    Args:
        message: of a declared kind.
        coding: name of a coding, e.g. "simplex:8".
        bases: what was sent before to the same receiver, as it decodes it, the newest first; a coding may send the
            difference.
        run: the one that the message belongs to; without it, the payloads are of version 1.

    Returns:
        Payloads of at most CHUNK bytes.

    Raises:
        ConfigError: an unknown coding.
        ValueError: what a header cannot say, values that are not finite, or values the coding cannot take (our own
            mistake, not a neighbour's).
    """
    rows, columns = message.values.shape
    if not 1 <= rows * columns <= LARGEST:
        raise ValueError(f"a message has 1 to {LARGEST} values, not {rows} x {columns}")
    if kinds.find(message.kind) is None or not 1 <= message.round < 2**32 or len(message.digest) != 8:
        raise ValueError(
            f"a message is of kind {' or '.join(kinds.declared())}, of round 1 to 2^32 - 1 "
            f"and has a digest of 8 bytes, not '{message.kind}', {message.round} and {len(message.digest)}"
        )
    if not np.isfinite(message.values).all():
        raise ValueError("values that are not finite are not sent")
    form = find(coding)
    known = [(b.round, b.values) for b in bases if b.round < message.round and b.digest == message.digest]
    body: bytes = form.encode(message.values, known) if form.bases else form.encode(message.values)
    pieces = [body[at : at + _PIECE] for at in range(0, len(body), _PIECE)] or [b""]
    return [
        pack(Chunk(message.kind, form.id, i, len(pieces), message.round, message.digest, rows, columns, piece, run))
        for i, piece in enumerate(pieces)
    ]


def join(chunks: Sequence[Chunk], bases: Sequence[Message] = ()) -> Message:
    """Put a message together.

    Args:
        chunks: all of one message, in any order.
        bases: what the same sender sent before.

    Returns:
        The message, with the values as decoded.

    Raises:
        BaseMissing: it is coded as the change since a message that is not among the bases.
        MessageError: a chunk is missing or of another message, the coding is unknown, or the body malformed.
    """
    if not chunks:
        raise MessageError("no chunks make no message")
    first = chunks[0]
    ordered = sorted(chunks, key=lambda c: c.index)
    if [c.index for c in ordered] != list(range(first.count)) or {_identity(c) for c in chunks} != {_identity(first)}:
        raise MessageError(f"{len(chunks)} chunks do not make one message of {first.count}")
    if (form := by_id().get(first.coding)) is None:
        raise MessageError(f"body coding {first.coding} is not known here")
    body = b"".join(c.body for c in ordered)
    if form.size(first.rows, first.columns) not in (len(body), None):
        raise MessageError(f"{first.rows} x {first.columns} values do not take {len(body)} bytes in this coding")
    size = first.rows, first.columns
    if form.bases:
        values = form.decode(body, *size, {b.round: b.values for b in bases if b.digest == first.digest})
    else:
        values = form.decode(body, *size)
    return Message(first.kind, first.round, first.digest, values)


def bases_of(coding: str | int) -> int:
    """Return how many earlier messages of the same edge a coding, by name or ID, can make use of."""
    form = find(coding) if isinstance(coding, str) else by_id().get(coding)
    return form.bases if form else 0


def payload_size(rows: int, columns: int, coding: str) -> int:
    """Work out the bytes of all payloads of one message.

    Args:
        rows: of its values.
        columns: of its values.
        coding: name of a coding.

    Returns:
        The size of the body, and of a header a chunk.

    Raises:
        ValueError: the coding's size depends on the values.
    """
    body = find(coding).size(rows, columns)
    if body is None:
        raise ValueError(f"the size of a body in {coding} depends on its values")
    return body + HEADER * max(1, -(-body // _PIECE))


def _identity(chunk: Chunk) -> tuple[object, ...]:
    return chunk.kind, chunk.coding, chunk.count, chunk.round, chunk.digest, chunk.rows, chunk.columns, chunk.run
