"""Samples as other programs send them: JSON, or raw float32 of the shape that the model takes.

    {"x": [[0.1, ...], ...], "y": ["walk", ...], "id": ["w17", ...]}     several samples; or one of each
    {"id": "w17", "y": "walk"}                                           a label that comes later
    [[0.1, ...], ...]                                                    samples alone

>>> parse(b'{"x": [0.1, 0.2], "y": "walk"}', (2,))
Payload(x=array([[0.1, 0.2]]), y=array(['walk'], dtype='<U4'), ids=None)
>>> parse(np.zeros(4, "<f4").tobytes(), (2,), raw=True).x.shape
(2, 2)
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from edge.errors import DataError
from edge.interfaces import Array

KEYS = ("x", "y", "id")
MOST_ROWS = 1000
"""samples of one request or message"""


@dataclass(frozen=True)
class Payload:
    """What was sent.

    Attributes:
        x: (n, ...) samples; None if there are only labels.
        y: (n,) labels or (n, ...), as they came; None if they come later or never.
        ids: (n,) text, the sender's own names of the samples, by which labels may follow; None if it gives none.
    """

    x: Array | None
    y: Array | None = None
    ids: Array | None = None


@dataclass(frozen=True)
class StreamItem:
    """What a stream has read (`edge.streams`).

    Attributes:
        payload: samples, or labels that came later; None if there is nothing to keep.
        marks: what it must know to go on after this, by name; None to forget it. It is kept together with the payload.
        refusal: why something that came is not in the payload.
    """

    payload: Payload | None
    marks: Mapping[str, str | None] = field(default_factory=dict)
    refusal: str | None = None


def parse(content: bytes, shape: tuple[int, ...], *, raw: bool = False) -> Payload:
    """Read what was sent.

    Args:
        content: the bytes.
        shape: of a sample.
        raw: whether they are float32, little endian, of whole samples; JSON otherwise.

    Raises:
        DataError: anything else, or more than MOST_ROWS samples.
    """
    if raw:
        size = 4 * prod(shape)
        if not content or len(content) % size:
            raise DataError(
                f"expected raw float32 of samples of {list(shape)}, {size} bytes each; got {len(content)} bytes"
            )
        return _bounded(Payload(np.frombuffer(content, "<f4").reshape(-1, *shape)))
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as reason:
        raise DataError(f"expected JSON: {reason or 'it is nested too deeply'}") from None
    if not isinstance(values, dict):
        values = {"x": values}
    if unknown := sorted(values.keys() - {*KEYS}):
        raise DataError(f"unknown key {unknown[0]!r}; expected {', '.join(KEYS)}")
    arrays = {key: _array(value, key) for key, value in values.items() if value is not None}
    x, y, ids = (arrays.get(key) for key in KEYS)
    if x is None and (y is None or ids is None):
        raise DataError('expected {"x": ...}, or {"id": ..., "y": ...} for a label that comes later')
    if x is not None and x.shape == shape:  # one sample, and one of all else
        x, y, ids = x[None], None if y is None else y[None], None if ids is None else ids[None]
    elif x is None and ids is not None and y is not None and not ids.ndim:
        y, ids = y[None], ids[None]
    rows = len(x) if x is not None and x.ndim else 0 if ids is None else len(ids)
    if ids is not None and (ids.ndim != 1 or ids.dtype.kind not in "Uiu" or len(ids) != rows):
        raise DataError(f"id: expected {rows} texts or integers, one a sample")
    return _bounded(Payload(x, y, None if ids is None else ids.astype(str)))


def _array(value: Any, key: str) -> Array:
    try:
        return np.array(value)
    except (ValueError, OverflowError):  # lists of different lengths
        raise DataError(f"{key}: expected numbers of one shape") from None


def _bounded(payload: Payload) -> Payload:
    rows = payload.x if payload.x is not None else payload.ids
    if rows is not None and rows.ndim and len(rows) > MOST_ROWS:
        raise DataError(f"expected at most {MOST_ROWS} samples at once, got {len(rows)}; send several requests")
    return payload
