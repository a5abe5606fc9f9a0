"""Messages through memory: one process, one thread, the same order every time.

    network = Network("demo")
    a, b = network.attach("a"), network.attach("b")

Bytes are counted as MQTT 5 would count them, so that an emulation in memory and one over a broker
report the same figures.
"""

from collections.abc import Mapping

from edge import topics
from edge.interfaces import Delivery, NodeId, Traffic, Transport
from edge.transports._inbox import Inbox, count_sent


class Network:
    """The devices that can reach each other."""

    def __init__(self, fleet: str) -> None:
        self.fleet = topics.name(fleet, "fleet")
        self.attached: dict[NodeId, Memory] = {}

    def attach(self, me: NodeId) -> "Memory":
        """A transport for the device `me`."""
        self.attached[me] = Memory(self, topics.name(me, "device"))
        return self.attached[me]


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
        if receiver in self._network.attached:
            self._network.attached[receiver].inbox.put(Delivery(self._me, kind, payload))

    def receive(self) -> list[Delivery]:
        """See `Transport.receive`."""
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
