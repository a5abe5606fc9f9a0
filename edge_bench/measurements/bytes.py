"""What learning costs on the network, layer by layer, on a real broker on loopback.

    payload        header and body of every message, by sender, receiver, kind and round
    publish        the MQTT packets around them, by their closed form (`edge.messaging.topics.publish_size`)
    acknowledge    a PUBACK of 4 bytes for each that has arrived
    tcp            what TCP carried, by the kernel's counters: the MQTT stream itself, or the TLS records around it
    ip             with the headers of every segment, HEADERS bytes each

Without TLS the closed forms, with `control` for connecting and subscribing, add up to the kernel's count, to the byte.
With TLS the same job is run again, and the difference is what TLS costs, its handshake included.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel

from broker import embedded, fleet, mosquitto, rules
from broker.process import free_port
from edge.codec import RETRANSMIT, decode, requested
from edge.interfaces import NodeId, Transport
from edge.messaging import topics
from edge.messaging.broker_url import parse
from edge.transports.mqtt import Credentials, MqttTransport
from edge_bench.tcp import HEADERS, Carried, carried
from edge_report.finding import Finding, Progress
from edge_sim import world as worlds
from edge_sim.fleet import Maker
from edge_sim.realtime import connected
from edge_sim.scenario import Scenario

FLEET, DAYS = "bytes", 1
ACKNOWLEDGE = 4
QUIET = 0.2
"""seconds without a further byte, after which the last acknowledgements are taken to have arrived"""


class EdgeTraffic(BaseModel):
    """Messages of one kind from one device to another: in all, and the payload bytes by round."""

    sender: str
    receiver: str
    kind: str
    coding: str
    messages: int
    payload: int
    publish: int
    by_round: list[int]


class DeviceTraffic(BaseModel):
    """One device: bytes sent, and received, by layer; and how many messages and segments."""

    device: str
    sent: dict[str, int]
    received: dict[str, int]


class TrafficRun(BaseModel):
    """All devices over one kind of connection."""

    tls: bool
    devices: list[DeviceTraffic]


class Bytes(Finding):
    """The plain run, and the one with TLS if there was one."""

    command: str = "bytes"
    scenario: dict[str, Any]
    edges: list[EdgeTraffic]
    runs: list[TrafficRun]


class Recorder(MqttTransport):
    """A transport that records every message it sends."""

    def __init__(self, url: str, fleet: str, me: NodeId, credentials: Credentials | None) -> None:
        super().__init__(parse(url), fleet, me, lasting=False, credentials=credentials, version=5)
        self.me = me
        self.sent: list[tuple[int, NodeId, str, int]] = []
        """(round, receiver, kind, payload bytes)"""
        self.wire = Carried(0, 0, 0, 0)
        """at the end, by its connection"""

    def send(self, receiver: NodeId, kind: str, payload: bytes) -> None:
        """Record, and send."""
        number = requested(payload).round if kind == RETRANSMIT else decode(payload).round
        self.sent.append((number, receiver, kind, len(payload)))
        super().send(receiver, kind, payload)


def measure(scenario: Scenario, *, tls: bool, progress: Progress = lambda *_: None) -> Bytes:
    """Run a scenario's protocol over a broker, and count what it sends.

    Args:
        scenario: the fleet and its job.
        tls: whether to run it again with TLS.
        progress: called after each round.

    Raises:
        ConfigError: a system that does not count what its connections have carried.
        TransportError: there is no broker to start.
    """
    runs: list[TrafficRun] = []
    edges: list[EdgeTraffic] = []
    for secure in (False, True) if tls else (False,):
        world = worlds.build(scenario)
        with _broker(secure, [*world.names, *fleet.CENTRES]) as (url, credentials):
            recorders = _play(world, url, credentials, progress)
        runs.append(TrafficRun(tls=secure, devices=[_line(recorder, recorders) for recorder in recorders]))
        edges = edges or _edges(scenario, recorders)
    return Bytes(scenario=scenario.model_dump(mode="json"), edges=edges, runs=runs)


@contextmanager
def _broker(secure: bool, names: Sequence[NodeId]) -> Iterator[tuple[str, Callable[[NodeId], Credentials | None]]]:
    """Start a broker, with TLS as `edge-broker init` sets it up; yield (its URL, the credentials of these names)."""
    if not secure:
        with embedded.running() as broker:
            yield broker.url, lambda _: None
        return
    with TemporaryDirectory() as folder:
        port = free_port(None)
        home = fleet.init(Path(folder) / FLEET, FLEET, ["127.0.0.1"], port)
        folders = {name: fleet.enrol(home, name, DAYS) for name in names}
        with mosquitto.run(rules.configuration(home.broker, port, "127.0.0.1"), home.broker, port):
            yield f"mqtts://127.0.0.1:{port}", lambda me: Credentials.of_folder(folders[me])


def _play(
    world: worlds.World,
    url: str,
    credentials: Callable[[NodeId], Credentials | None],
    progress: Progress,
) -> list[Recorder]:
    """Play all rounds, and wait until nothing has moved for QUIET seconds."""
    scenario = world.scenario
    algorithm = scenario.algorithm(scenario.protocol)
    recorders: list[Recorder] = []

    def connect(me: NodeId) -> Transport:
        recorders.append(Recorder(url, FLEET, me, credentials(me)))
        return recorders[-1]

    with TemporaryDirectory() as folder:
        make = Maker(world, algorithm, worlds.Bundles(world, Path(folder)))
        with connected(make, connect) as fleet:
            for done, _ in enumerate(fleet.rounds(), start=1):
                progress(done, scenario.rounds, "TLS" if parse(url).tls else "plain")
            return _settled(recorders)


def _settled(recorders: list[Recorder]) -> list[Recorder]:
    """With what their connections have carried, once nothing has moved for QUIET seconds."""
    while True:
        before = [recorder.wire for recorder in recorders]
        for recorder in recorders:
            recorder.wire = carried(recorder.connection())
        if before == [recorder.wire for recorder in recorders]:
            return recorders
        time.sleep(QUIET)


def _line(recorder: Recorder, recorders: list[Recorder]) -> DeviceTraffic:
    """Count a device's messages; what others sent to it, it has received, each message once."""
    me, wire = recorder.me, recorder.wire
    arrived = [
        (topics.Address(FLEET, me, other.me, kind).topic, size)
        for other in recorders
        for _, receiver, kind, size in other.sent
        if receiver == me
    ]
    left = [(topics.Address(FLEET, receiver, me, kind).topic, size) for _, receiver, kind, size in recorder.sent]
    return DeviceTraffic(
        device=me,
        sent={**_layers(left, len(arrived), wire.sent, wire.segments_sent), "connect": control(me)},
        received=_layers(arrived, len(left), wire.received, wire.segments_received),
    )


def _layers(messages: list[tuple[str, int]], acknowledged: int, stream: int, segments: int) -> dict[str, int]:
    return {
        "messages": len(messages),
        "payload": sum(size for _, size in messages),
        "publish": sum(topics.publish_size(topic, size) for topic, size in messages),
        "acknowledge": ACKNOWLEDGE * acknowledged,
        "tcp": stream,
        "segments": segments,
        "ip": stream + HEADERS * segments,
    }


def _edges(scenario: Scenario, recorders: list[Recorder]) -> list[EdgeTraffic]:
    coding = scenario.coding.by_kind()
    edges = []
    for me in recorders:
        for receiver, kind in sorted({(receiver, kind) for _, receiver, kind, _ in me.sent}):
            messages = [(number, size) for number, r, k, size in me.sent if (r, k) == (receiver, kind)]
            topic = topics.Address(FLEET, receiver, me.me, kind).topic
            by_round = Counter[int]()
            for number, size in messages:
                by_round[number] += size
            edges.append(
                EdgeTraffic(
                    sender=me.me,
                    receiver=receiver,
                    kind=kind,
                    coding=coding.get(kind, ""),
                    messages=len(messages),
                    payload=sum(size for _, size in messages),
                    publish=sum(topics.publish_size(topic, size) for _, size in messages),
                    by_round=[by_round[number] for number in range(1, scenario.rounds + 1)],
                )
            )
    return edges


def control(device: NodeId, fleet: str = FLEET) -> int:
    """Return the bytes a device sends beside messages: CONNECT, SUBSCRIBE and its status, in MQTT 5, no user name."""
    status, inbox, client = topics.status(fleet, device), topics.inbox(fleet, device), f"{fleet}-{device}"
    # protocol name, version, flags, keep alive; session expiry; client; the will with its (no) properties
    connect = 10 + 6 + (2 + len(client)) + 1 + (2 + len(status)) + (2 + len("offline"))
    subscribe = 2 + 1 + (2 + len(inbox)) + 1
    online = (2 + len(status)) + 2 + 1 + len("online")
    return sum(1 + _length(rest) + rest for rest in (connect, subscribe, online))


def _length(rest: int) -> int:
    """Return the bytes of MQTT's field for the remaining length."""
    return 1 if rest < 128 else 2
