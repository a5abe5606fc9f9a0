"""What travels on the topic `again`: requests for messages, and greetings, by which devices learn of others' runs.

Both are a header without values: coding 0 and no columns. A request has no rows either; a greeting has one, or two if
it is to be answered, its sender's session in the place of the digest, and as its body the session of whom it answers.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from edge import kinds
from edge.codec._header import Chunk, decode, pack
from edge.errors import MessageError

NOTHING = b"\xff" * 8
"""The digest by which a device says that it has nothing to send for a request."""
SESSION = 8
"""Bytes of a session."""
_STATEMENT, _QUESTION = 1, 2


@dataclass(frozen=True)
class Request:
    """What is asked for again. missing: only these chunks, of a message of `count`; all of it if there are none.

    run: the one that its sender is in; None if it speaks version 1. nothing: it is no request, but says that its sender
    has sent no such message to the receiver, and will not.
    """

    kind: str
    round: int
    missing: tuple[int, ...] = ()
    count: int = 0
    run: int | None = None
    nothing: bool = False


@dataclass(frozen=True)
class Greeting:
    """Which run a device is in, and how far.

    run: 0 if it is in none yet. round: the one that is open there. session: drawn when its process began. answers: the
    session of the device that it is sent to, as far as its sender knows, which proves that it is no old message; zeros
    if it does not. asks: whether it is to be answered.
    """

    run: int
    round: int
    session: bytes
    answers: bytes = bytes(SESSION)
    asks: bool = False


def request(
    kind: str, number: int, digest: bytes, missing: Sequence[int] = (), count: int = 0, run: int | None = None
) -> bytes:
    """Write a request for a message.

    Args:
        kind: of the message.
        number: its round.
        digest: its digest.
        missing: indices of the chunks that are wanted, ascending; all if there are none.
        count: chunks of the whole message, with `missing`.
        run: the sender's; None for version 1 of the format.

    Returns:
        The payload.
    """
    body = struct.pack(f"<{1 + len(missing)}H", count, *missing) if missing else b""
    return pack(Chunk(kind, 0, 0, 1, number, digest, 0, 0, body, run))


def greeting(words: Greeting) -> bytes:
    """Write a greeting."""
    rows = _QUESTION if words.asks else _STATEMENT
    return pack(Chunk(kinds.STATUS.name, 0, 0, 1, words.round, words.session, rows, 0, words.answers, words.run))


def parse(payload: bytes) -> Request | Greeting:
    """Read what came on the topic `again`. Raises MessageError."""
    chunk = decode(payload)
    if chunk.coding or chunk.columns:
        raise MessageError("a request has no values")
    if chunk.rows == 0:
        return _request(chunk)
    if chunk.run is None or chunk.rows > _QUESTION or len(chunk.body) != SESSION:
        raise MessageError("a request has no values, and this is no greeting either")
    return Greeting(chunk.run, chunk.round, chunk.digest, chunk.body, chunk.rows == _QUESTION)


def requested(payload: bytes) -> Request:
    """Read a request. Raises MessageError."""
    words = parse(payload)
    if not isinstance(words, Request):
        raise MessageError("a request has no values; this is a greeting")
    return words


def _request(chunk: Chunk) -> Request:
    numbers = struct.unpack(f"<{len(chunk.body) // 2}H", chunk.body[: len(chunk.body) // 2 * 2])
    if len(chunk.body) % 2:
        raise MessageError("a request has no values")
    count, missing = (numbers[0], numbers[1:]) if numbers else (0, ())
    if numbers and not (missing and sorted(set(missing)) == list(missing) and missing[-1] < count):
        raise MessageError(f"a request for chunks {missing} of {count}")
    return Request(chunk.kind, chunk.round, missing, count, chunk.run, chunk.digest == NOTHING)
