"""What a fleet says about itself, for Prometheus: status and telemetry of every device, as gauges.

    murmur_online{fleet,device}                       1 or 0, by the retained status
    murmur_last_seen_timestamp_seconds{fleet,device}  of its telemetry, by this machine's clock
    murmur_KEY{fleet,device}                          a number of its last row: round, loss, accuracy_all, ...

Anybody who may write telemetry can make this hold at most MAX_DEVICES devices with MAX_KEYS numbers each.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from broker import reports
from broker.subscriber import subscribed
from edge.errors import ConfigError


@dataclass(eq=False)
class FleetCollector(Collector):
    """The last report of every device of the fleet `name`. refused: messages that were no reports."""

    name: str
    online: dict[str, bool] = field(default_factory=dict)
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    refused: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, topic: str, payload: bytes, now: float) -> None:
        """Take a message of the broker's in; what is no report is only counted."""
        report = reports.read(topic, payload)
        with self.lock:
            if report is None or not (report.device in self.online or len(self.online) < reports.MAX_DEVICES):
                self.refused += 1
            elif report.row is None:
                self.online[report.device] = bool(report.online)
            else:
                self.online.setdefault(report.device, True)
                self.rows[report.device], self.seen[report.device] = report.row, now

    def collect(self) -> Iterator[Metric]:
        """Yield one family a key, for the registry."""
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


@contextmanager
def watching(
    url: str, fleet: str, credentials: Path | None, host: str, port: int
) -> Iterator[tuple[FleetCollector, int]]:
    """Follow a fleet and serve /metrics while the block lasts.

    Args:
        url: of the broker.
        fleet: its name.
        credentials: folder of `edge-broker enrol monitor`, for mqtts://.
        host: to listen at.
        port: to listen at; 0 for any.

    Returns:
        The collector, and the port that was chosen.

    Raises:
        ConfigError: the port is taken, or the URL or a file cannot be used.
        TransportError: the broker does not answer, or refuses the connection.
    """
    collector = FleetCollector(fleet)
    registry = CollectorRegistry()
    registry.register(collector)
    with subscribed(url, fleet, credentials, collector.take):
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as reason:
            raise ConfigError(f"--listen {host}:{port}: {reason.strerror or reason}") from None
        try:
            yield collector, server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
