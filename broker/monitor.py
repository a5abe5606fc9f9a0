"""What a fleet says about itself, for Prometheus: status and telemetry of every device, as gauges.

    murmur_online{fleet,device}                       1 or 0, by the retained status
    murmur_last_seen_timestamp_seconds{fleet,device}  of its telemetry, by this machine's clock
    murmur_KEY{fleet,device}                          a number of its last row: round, loss, accuracy_all, ...

Anybody who may write telemetry can make this hold at most MOST devices with MOST_KEYS numbers each.
"""

import json
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker.listener import listening
from edge.errors import ConfigError
from edge.storage.metrics_log import current_names

MOST, MOST_KEYS, LONGEST = 10_000, 100, 65_536
_KEY = re.compile(r"[A-Za-z0-9_/.,()-]{1,96}")


@dataclass(eq=False)
class Fleet(Collector):
    """The last that every device said."""

    name: str
    online: dict[str, bool] = field(default_factory=dict)
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, topic: str, payload: bytes, now: float) -> None:
        """A message of the broker's. What is no status or telemetry is counted, and nothing else."""
        told = told_by(topic, payload)
        with self.lock:
            if told is None or not (told[0] in self.online or len(self.online) < MOST):
                self.refused += 1
            elif isinstance(told[1], bool):
                self.online[told[0]] = told[1]
            else:
                self.online.setdefault(told[0], True)
                self.rows[told[0]], self.seen[told[0]] = told[1], now

    def collect(self) -> Iterator[Metric]:
        """For the registry: a family a key."""
        with self.lock:
            tables = {
                "online": {d: float(on) for d, on in self.online.items()},
                "last_seen_timestamp_seconds": dict(self.seen),
            }
            for device, row in self.rows.items():
                for key, value in row.items():
                    tables.setdefault(re.sub(r"[^A-Za-z0-9_]", "_", key), {})[device] = value
            refused = self.refused
        for key, values in tables.items():
            family = GaugeMetricFamily(f"murmur_{key}", f"{key} of a device", labels=["fleet", "device"])
            for device, value in sorted(values.items()):
                family.add_metric([self.name, device], value)
            yield family
        yield GaugeMetricFamily("murmur_monitor_refused", "messages that were no status or telemetry", value=refused)


def told_by(topic: str, payload: bytes) -> tuple[str, bool | dict[str, float]] | None:
    """(device, whether it is there, or its row of telemetry); None for what is neither."""
    parts = topic.split("/")
    if len(parts) == 4 and parts[2] == "status" and payload in (b"online", b"offline"):
        return parts[3], payload == b"online"
    if len(parts) == 4 and parts[2] == "telemetry" and (row := _row(payload)) is not None:
        return parts[3], current_names(row)
    return None


def _row(payload: bytes) -> dict[str, float] | None:
    """Flat JSON of numbers; None for anything else."""
    if len(payload) > LONGEST:
        return None
    try:
        row = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or len(row) > MOST_KEYS:
        return None
    sound = all(_KEY.fullmatch(k) and isinstance(v, int | float) and not isinstance(v, bool) for k, v in row.items())
    return {k: float(v) for k, v in row.items() if abs(v) < 1e300 or not math.isfinite(v)} if sound else None


@contextmanager
def watching(url: str, name: str, papers: Path | None, host: str, port: int) -> Iterator[tuple[Fleet, int]]:
    """Follow a fleet (`listening`), and serve /metrics at host:port (0 for any); the fleet and the port."""
    fleet = Fleet(name)
    registry = CollectorRegistry()
    registry.register(fleet)
    with listening(url, name, papers, fleet.take):
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as reason:
            raise ConfigError(f"--listen {host}:{port}: {reason.strerror or reason}") from None
        try:
            yield fleet, server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
