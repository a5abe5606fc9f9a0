"""Message <-> bytes: a header, and one body coding a file (docs/wire.md).

payloads = encode(message, "probability8")        # one, or several of at most 512 kB each
message = join([decode(p) for p in payloads])     # both raise MessageError and nothing else
"""

from edge.codec._header import CHUNK, HEADER, RETRANSMIT, Chunk, Request, decode, request, requested
from edge.codec._message import bases_of, encode, join, payload_size

__all__ = [
    "CHUNK",
    "HEADER",
    "RETRANSMIT",
    "Chunk",
    "Request",
    "bases_of",
    "decode",
    "encode",
    "join",
    "payload_size",
    "request",
    "requested",
]
