"""What a device reports about itself, as anybody may send it: the one parser of status, telemetry and reports.

Monitor, dashboard, text view and operator read with it, and `tests.chaos.fuzz` throws a million inputs at it. Its rows
have keys of a fixed set, finite numbers of at most LARGEST, and texts without control characters.

>>> read("fleet/orchard/telemetry/a", b'{"round": 3, "loss": 0.5, "whatever": 1}')
DeviceReport(device='a', online=None, row={'round': 3.0, 'loss': 0.5}, diverged=False)
>>> read("fleet/orchard/status/a", b"offline")
DeviceReport(device='a', online=False, row=None, diverged=False)
"""

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from edge.messaging import topics
from edge.operations.prometheus import NUMBERS
from edge.storage.metrics_log import current_names

MAX_DEVICES, MAX_KEYS, MAX_BYTES = 10_000, 100, 65_536
"""devices that are followed; keys and bytes of one row"""
LARGEST = 1e18
"""Bound of every number: anything above has not been measured."""
LONGEST = 300
"""letters of a text"""
TEXTS = ("device", "bundle", "outcome", "board", "image")
"""keys of a report to the operator"""
TERM, RECEIVER = "loss/", "sent_to/"
"""prefixes of the two families of keys: the terms of the loss, and bytes sent to each neighbour"""
_TERM = re.compile(r"[a-z0-9_]{1,48}(\([a-z0-9_, ]{1,32}\))?")
_KEYS = {key: key for key in NUMBERS}
Report = dict[str, float | str]


@dataclass(frozen=True)
class DeviceReport:
    """One message. online: of a status message. row: of a telemetry message. diverged: its loss was not a number."""

    device: str
    online: bool | None = None
    row: dict[str, float] | None = None
    diverged: bool = False


def read(topic: str, payload: bytes) -> DeviceReport | None:
    """Read a status or telemetry message of the broker's.

    Args:
        topic: it came under; the broker's access rules guarantee that the device in it sent the message.
        payload: "online" or "offline", or flat JSON of numbers.

    Returns:
        The report, with today's names of telemetry, without keys that nobody knows and numbers that are none; None for
        anything else, or if nothing is left.
    """
    address = topics.parse_device(topic)
    if address is None:
        return None
    if address.channel == topics.STATUS:
        return DeviceReport(address.device, online=payload == b"online") if payload in (b"online", b"offline") else None
    values = _flat(payload)
    if values is None or not all(map(_is_number, values.values())):
        return None
    row = dict(_numbers(values))
    loss = values.get("loss", 0)
    diverged = isinstance(loss, float) and not math.isfinite(loss)
    return DeviceReport(address.device, row=row, diverged=diverged) if row or diverged else None


def read_report(payload: bytes) -> Report:
    r"""Read what a device sent to the operator, in the same way, and its texts.

    >>> read_report(b'{"round": 2, "outcome": "installed \\u001b[31mmodel", "evil": 1e999}')
    {'round': 2.0, 'outcome': 'installed [31mmodel'}
    """
    values = _flat(payload) or {}
    texts = ((key, values[key]) for key in TEXTS if key in values)
    return {**dict(_numbers(values)), **{key: printable(text) for key, text in texts if isinstance(text, str)}}


def printable(text: str) -> str:
    r"""A text of somebody else's, as it may be shown: at most LONGEST letters, without control characters.

    >>> printable("a\x1b[2Jb")
    'a[2Jb'
    """
    return "".join(letter for letter in text[:LONGEST] if letter.isprintable())


def _flat(payload: bytes) -> dict[str, object] | None:
    """The object in a payload, under today's names; None if there is none of that size."""
    if len(payload) > MAX_BYTES:
        return None
    try:
        values = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or len(values) > MAX_KEYS:
        return None
    return current_names(values)


def _numbers(values: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    """What is known, finite and bounded of an object's values."""
    for name, value in values.items():
        key = _key(name)
        if key and _is_number(value) and abs(value) <= LARGEST:  # false for NaN; integers of any length compare
            yield key, float(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(name: str) -> str | None:
    """A key of the fixed set, or of a family; shared, as there may be ten thousand rows of them."""
    if name in _KEYS:
        return _KEYS[name]
    if name.startswith(TERM) and _TERM.fullmatch(name.removeprefix(TERM)):
        return sys.intern(name)
    return sys.intern(name) if name.startswith(RECEIVER) and topics.is_name(name.removeprefix(RECEIVER)) else None
