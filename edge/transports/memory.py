"""Messages through memory: one process, the same order every time.

    network = Network("demo")
    a, b = network.attach("a"), network.attach("b")

Bytes are counted as MQTT 5 would count them, so that an emulation in memory and one over a broker
report the same figures. With `Links`, messages take the time that links of that width would.
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge import topics
from edge.interfaces import Delivery, NodeId, Traffic, Transport
from edge.topics import publish_size
from edge.transports._inbox import Inbox, count_sent


@dataclass(frozen=True)
class Links:
    """The width of a device's link to the broker, each way, in bits a second; None for endless.

    wide: nodes whose links are endless, as a server's.
    """

    uplink: float | None = None
    downlink: float | None = None
    wide: frozenset[NodeId] = frozenset()

    def seconds(self, node: NodeId, width: float | None, size: int) -> float:
        """For `size` bytes on one of a node's links."""
        return 0.0 if width is None or node in self.wide else 8 * size / width


class Network:
    """The devices that can reach each other.

    now: the clock that arrival is measured by, if links are narrow. held: messages wait until `release`, so that
    devices may send from threads of their own and the order is still the same every time.
    """

    def __init__(
        self, fleet: str, links: Links | None = None, now: Callable[[], float] = lambda: 0.0, *, held: bool = False
    ) -> None:
        self.fleet = topics.name(fleet, "fleet")
        self.attached: dict[NodeId, Memory] = {}
        self._links, self._now = links, now
        self._under_way: list[tuple[float, int, NodeId, Delivery]] = []
        self._count = 0
        self._free: dict[tuple[NodeId, str], float] = {}
        self._is_held = held
        self._held: dict[NodeId, list[tuple[NodeId, str, Delivery]]] = {}

    def attach(self, me: NodeId) -> "Memory":
        """A transport for the device `me`."""
        self.attached[me] = Memory(self, topics.name(me, "device"))
        self._held[me] = []
        return self.attached[me]

    def send(self, receiver: NodeId, topic: str, delivery: Delivery) -> None:
        """Carry it now, or with the next `release`."""
        if self._is_held:
            self._held[delivery.sender].append((receiver, topic, delivery))
        else:
            self._carry(receiver, topic, delivery)

    def release(self) -> bool:
        """Carry what was held, in the order of the devices; whether there was anything."""
        found = False
        for waiting in self._held.values():
            for message in waiting:
                self._carry(*message)
                found = True
            waiting.clear()
        return found

    def _carry(self, receiver: NodeId, topic: str, delivery: Delivery) -> None:
        """Deliver at once or, over narrow links, one after the other: up from the sender, then down to the receiver."""
        if self._links is None:
            self._arrive(receiver, delivery)
            return
        size, at = publish_size(topic, len(delivery.payload)), self._now()
        ways = (delivery.sender, "up", self._links.uplink), (receiver, "down", self._links.downlink)
        for node, way, width in ways:
            at = max(at, self._free.get((node, way), 0.0)) + self._links.seconds(node, width, size)
            self._free[node, way] = at
        self._count += 1
        heapq.heappush(self._under_way, (at, self._count, receiver, delivery))

    def deliver(self) -> None:
        """Let everything arrive that is due."""
        while self._under_way and self._under_way[0][0] <= self._now():
            _, _, receiver, delivery = heapq.heappop(self._under_way)
            self._arrive(receiver, delivery)

    @property
    def next_arrival(self) -> float | None:
        """When the next message is due; None if nothing is under way."""
        return self._under_way[0][0] if self._under_way else None

    def _arrive(self, receiver: NodeId, delivery: Delivery) -> None:
        if receiver in self.attached:
            self.attached[receiver].inbox.put(delivery)


class Memory:
    """See `edge.interfaces.Transport`. What is sent to a device that is not attached is lost."""

    def __init__(self, network: Network, me: NodeId) -> None:
        self.traffic = Traffic()
        self.inbox = Inbox(self.traffic)
        self.reported: dict[str, float] = {}
        """the latest row of telemetry"""
        self._network = network
        self._me = me

    def send(self, receiver: NodeId, kind: str, payload: bytes) -> None:
        """See `Transport.send`."""
        topic = topics.Address(self._network.fleet, receiver, self._me, kind).topic
        count_sent(self.traffic, topic, payload)
        self._network.send(receiver, topic, Delivery(self._me, kind, payload))

    def receive(self) -> list[Delivery]:
        """See `Transport.receive`."""
        self._network.deliver()
        return self.inbox.take()

    def wait(self, seconds: float) -> bool:
        """Whether something is there. Nothing can arrive while the only thread waits, so it does not."""
        return self.inbox.wait(0)

    def report(self, row: Mapping[str, float]) -> None:
        """Keep the latest row."""
        self.reported = dict(row)

    def close(self) -> None:
        """Leave the network."""
        self._network.attached.pop(self._me, None)


_: type[Transport] = Memory
