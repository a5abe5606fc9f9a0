"""What a device reports about itself, as anybody may send it: bounded, and checked before it is believed.

>>> read("fleet/orchard/telemetry/a", b'{"round": 3, "loss": 0.5}')
DeviceReport(device='a', online=None, row={'round': 3.0, 'loss': 0.5})
>>> read("fleet/orchard/status/a", b"offline")
DeviceReport(device='a', online=False, row=None)
"""

import json
import math
import re
from dataclasses import dataclass

from edge.messaging import topics
from edge.storage.metrics_log import current_names

MAX_DEVICES, MAX_KEYS, MAX_BYTES = 10_000, 100, 65_536
"""devices that are followed; keys and bytes of one row"""
_KEY = re.compile(r"[A-Za-z0-9_/.,()-]{1,96}")


@dataclass(frozen=True)
class DeviceReport:
    """One message. online: of a status message. row: of a telemetry message, key -> value."""

    device: str
    online: bool | None = None
    row: dict[str, float] | None = None


def read(topic: str, payload: bytes) -> DeviceReport | None:
    """Read a message of the broker's.

    Args:
        topic: it came under; the broker's access rules guarantee that the device in it sent the message.
        payload: "online" or "offline", or flat JSON of numbers.

    Returns:
        The report, with today's names of telemetry; None for anything else.
    """
    address = topics.parse_device(topic)
    if address is None:
        return None
    if address.channel == topics.STATUS:
        return DeviceReport(address.device, online=payload == b"online") if payload in (b"online", b"offline") else None
    row = _row(payload)
    return None if row is None else DeviceReport(address.device, row=current_names(row))


def _row(payload: bytes) -> dict[str, float] | None:
    if len(payload) > MAX_BYTES:
        return None
    try:
        row = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or len(row) > MAX_KEYS or not all(map(_sound, row, row.values())):
        return None
    return {k: float(v) for k, v in row.items() if abs(v) < 1e300 or not math.isfinite(v)}


def _sound(key: str, value: object) -> bool:
    return bool(_KEY.fullmatch(key)) and isinstance(value, int | float) and not isinstance(value, bool)
