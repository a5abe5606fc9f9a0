"""The public, unlabelled reference set that every device has, and the digest that names it."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from edge.interfaces import Array


@dataclass(frozen=True)
class ReferenceSet:
    """x: (R, ...) float32. digest: 8 bytes; soft labels about another set are not understood."""

    x: Array
    digest: bytes


def of(x: Array) -> ReferenceSet:
    """Name a reference set by the first 8 bytes of SHA-256 over its shape and little-endian values."""
    rows = np.ascontiguousarray(x, "<f4")
    hashed = hashlib.sha256(json.dumps(rows.shape).encode() + rows.tobytes())
    return ReferenceSet(rows.astype(np.float32, copy=False), hashed.digest()[:8])
