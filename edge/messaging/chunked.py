"""A blob as several payloads that a broker takes, and back: one line of JSON, a line feed, and the bytes.

{"digest": "<SHA-256 of the whole, hex>", "part": 0, "parts": 3, "bytes": 900000}
"""

import hashlib
import json
from dataclasses import dataclass, field

from edge.errors import MessageError

SIZE = 400_000
LARGEST = 100_000_000
"""Bytes of the whole."""


def cut(content: bytes) -> list[bytes]:
    """The payloads; at least one."""
    digest = hashlib.sha256(content).hexdigest()
    pieces = [content[at : at + SIZE] for at in range(0, len(content), SIZE)] or [b""]
    about = {"digest": digest, "parts": len(pieces), "bytes": len(content)}
    return [json.dumps({**about, "part": number}).encode() + b"\n" + piece for number, piece in enumerate(pieces)]


@dataclass
class Parts:
    """Of one blob at a time, in any order, repeated or not; the first part of another one takes its place."""

    digest: str = ""
    found: dict[int, bytes] = field(default_factory=dict)
    parts: int = 0

    def take(self, payload: bytes) -> bytes | None:
        """The whole, once it is complete. Raises MessageError: no part, or not what was announced."""
        head, line, piece = payload.partition(b"\n")
        try:
            about = json.loads(head) if line and len(head) < 1000 else {}
            digest, part, parts, size = (about[key] for key in ("digest", "part", "parts", "bytes"))
            sound = isinstance(digest, str) and all(type(n) is int for n in (part, parts, size))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise MessageError("not a part of anything") from None
        if not (sound and 0 <= part < parts and 0 <= size <= LARGEST and parts == max(1, -(-size // SIZE))):
            raise MessageError(f"a part of at most {LARGEST:,} bytes was expected")
        if len(piece) != min(SIZE, size - part * SIZE):
            raise MessageError(f"part {part} of {parts} has {len(piece)} bytes")
        if (digest, parts) != (self.digest, self.parts):
            self.digest, self.parts, self.found = digest, parts, {}
        self.found[part] = piece
        if len(self.found) < parts:
            return None
        content = b"".join(self.found[n] for n in range(parts))
        self.digest, self.parts, self.found = "", 0, {}
        if hashlib.sha256(content).hexdigest() != digest:
            raise MessageError("the parts do not make what was announced")
        return content
