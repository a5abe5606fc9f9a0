"""Messages through memory: one process, the same order every time.

    network = Network("demo")
    a, b = network.attach("a"), network.attach("b")

Bytes are counted as MQTT 5 would count them, so that an emulation in memory and one over a broker
report the same figures.
"""

from collections.abc import Callable, Mapping

from edge.interfaces import Delivery, NodeId, Traffic, Transport
from edge.messaging import topics
from edge.transports._inbox import Inbox, count_sent

Carry = Callable[[NodeId, str, Delivery], None]
"""(receiver, topic, what is sent)"""


class Network:
    """The devices that can reach each other.

    carry: what becomes of a message; it arrives at once if absent. Whoever carries it calls `arrive` in the end.
    """

    def __init__(self, fleet: str, carry: Carry | None = None) -> None:
        self.fleet = topics.name(fleet, "fleet")
        self.attached: dict[NodeId, Memory] = {}
        self._carry = carry

    def attach(self, me: NodeId) -> "Memory":
        """A transport for the device `me`."""
        self.attached[me] = Memory(self, topics.name(me, "device"))
        return self.attached[me]

    def send(self, receiver: NodeId, topic: str, delivery: Delivery) -> None:
        """Hand it over."""
        if self._carry is None:
            self.arrive(receiver, delivery)
        else:
            self._carry(receiver, topic, delivery)

    def arrive(self, receiver: NodeId, delivery: Delivery) -> None:
        """It is there; of a receiver that is not, nobody hears."""
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
        count_sent(self.traffic, receiver, topic, payload)
        self._network.send(receiver, topic, Delivery(self._me, kind, payload))

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
