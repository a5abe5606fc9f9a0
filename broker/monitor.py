"""What a fleet says about itself, for Prometheus: status and telemetry of every device, as gauges.

    murmur_online{fleet,device}                       1 or 0, by the retained status
    murmur_last_seen_timestamp_seconds{fleet,device}  of its telemetry, by this machine's clock
    murmur_KEY{fleet,device}                          a number of its last row (`edge.operations.prometheus.GAUGES`);
                                                      KEY_mb is murmur_KEY_bytes
    murmur_sent_to_bytes{fleet,device,receiver}       what it has sent to a neighbour

No device can make up a name, and anybody who may write telemetry can make this hold at most MAX_DEVICES devices.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broker import http, reports
from broker.subscriber import Listener, subscribed
from edge.operations.prometheus import GAUGES


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
        """Yield one family a key that some device has, for the registry."""
        with self.lock:
            online = {device: float(on) for device, on in self.online.items()}
            seen, rows, refused = dict(self.seen), dict(sorted(self.rows.items())), self.refused
        yield self._family("murmur_online", "1 if the device is connected to the broker", online)
        yield self._family("murmur_last_seen_timestamp_seconds", "when its last telemetry came here", seen)
        for key, (name, text, unit) in GAUGES.items():
            if values := {device: row[key] * unit for device, row in rows.items() if key in row}:
                yield self._family(name, text, values)
        links = GaugeMetricFamily(
            "murmur_sent_to_bytes", "bytes of payloads sent to a neighbour", labels=["fleet", "device", "receiver"]
        )
        for device, row in rows.items():
            for key, value in row.items():
                if key.startswith(reports.RECEIVER):
                    links.add_metric([self.name, device, key.removeprefix(reports.RECEIVER)], value)
        yield links
        yield GaugeMetricFamily("murmur_monitor_refused", "messages that were no status or telemetry", value=refused)

    def _family(self, name: str, text: str, values: Mapping[str, float]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text, labels=["fleet", "device"])
        for device, value in sorted(values.items()):
            family.add_metric([self.name, device], value)
        return family


@dataclass(frozen=True)
class Watch:
    """A monitor at work. collector: what it knows; port: where /metrics is; listener: to wait on."""

    collector: FleetCollector
    port: int
    listener: Listener


def application(collector: FleetCollector) -> Starlette:
    """Return what serves /metrics."""
    registry = CollectorRegistry()
    registry.register(collector)

    async def metrics(request: Request) -> Response:
        headers = {"Connection": "close"} if http.has_body(request) else {}
        return Response(generate_latest(registry), headers=headers, media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/metrics", metrics), Route("/", metrics)])


@contextmanager
def watching(url: str, fleet: str, credentials: Path | None, host: str, port: int) -> Iterator[Watch]:
    """Follow a fleet and serve /metrics while the block lasts.

    Args:
        url: of the broker.
        fleet: its name.
        credentials: folder of `edge-broker enrol monitor`, for mqtts://.
        host: to listen at.
        port: to listen at; 0 for any.

    Yields:
        The monitor.

    Raises:
        ConfigError: the port is taken, or the URL or a file cannot be used.
        TransportError: the broker does not answer, or refuses the connection.
    """
    collector = FleetCollector(fleet)
    with (
        subscribed(url, fleet, credentials, collector.take) as listener,
        http.serving(application(collector), host, port) as chosen,
    ):
        yield Watch(collector, chosen, listener)
