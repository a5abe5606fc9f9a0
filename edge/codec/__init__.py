"""Message <-> bytes: a header, and one family of body codings a file (docs/wire.md).

>>> import numpy as np
>>> from edge.interfaces import Message
>>> message = Message("soft-labels", 1, bytes(8), np.array([[0.5, 0.25, 0.25]], np.float32))
>>> payloads = encode(message, "simplex:8")  # one, or several of at most 512 kB each
>>> [len(payload) for payload in payloads]
[43]
>>> join([decode(payload) for payload in payloads]).values.round(2).tolist()[0][0]
0.5

`decode` and `join` raise MessageError and nothing else, whatever the bytes. A file has `SPEC = CodecSpec(...)`
(`edge.specs`).
"""

from edge.codec._header import CHUNK, HEADER, RETRANSMIT, Chunk, decode
from edge.codec._message import bases_of, encode, join, payload_size
from edge.codec._registry import CODECS, canonical, carried, find, names
from edge.codec._request import NOTHING, SESSION, Greeting, Request, greeting, parse, request, requested

__all__ = [
    "CHUNK",
    "CODECS",
    "HEADER",
    "NOTHING",
    "RETRANSMIT",
    "SESSION",
    "Chunk",
    "Greeting",
    "Request",
    "bases_of",
    "canonical",
    "carried",
    "decode",
    "encode",
    "find",
    "greeting",
    "join",
    "names",
    "parse",
    "payload_size",
    "request",
    "requested",
]
