"""Messages through memory: within one process, in the same order every time.

Bytes are counted as MQTT 5 would count them, so that an emulation in memory and one over a broker report the same
figures.
"""

from collections.abc import Callable, Mapping

from edge.interfaces import Delivery, NodeId, Traffic, Transport
from edge.messaging import topics
from edge.transports._receive_queue import ReceiveQueue, count_sent

Carry = Callable[[NodeId, str, Delivery], None]
"""receiver, topic, delivery"""


class Network:
    """The devices that can reach each other.

    Args:
        fleet: its name, as it stands in topics.
        carry: takes every message that is sent, and calls `arrive` when it arrives, if it does; without it, messages
            arrive at once.

    Raises:
        ConfigError: a name that cannot stand in a topic.
    """

    def __init__(self, fleet: str, carry: Carry | None = None) -> None:
        self.fleet = topics.name(fleet, "fleet")
        self.attached: dict[NodeId, MemoryTransport] = {}
        self._carry = carry

    def attach(self, me: NodeId) -> "MemoryTransport":
        """Attach the device `me`, and return its transport. Raises ConfigError: the name cannot be in a topic."""
        self.attached[me] = MemoryTransport(self, topics.name(me, "device"))
        return self.attached[me]

    def send(self, receiver: NodeId, topic: str, delivery: Delivery) -> None:
        """Hand a message over to `carry`, or deliver it."""
        if self._carry is None:
            self.arrive(receiver, delivery)
        else:
            self._carry(receiver, topic, delivery)

    def arrive(self, receiver: NodeId, delivery: Delivery) -> None:
        """Deliver a message; it is lost if its receiver is not attached."""
        if receiver in self.attached:
            self.attached[receiver].queue.put(delivery)


class MemoryTransport:
    """See `edge.interfaces.Transport`. What is sent to a device that is not attached is lost."""

    def __init__(self, network: Network, me: NodeId) -> None:
        self.traffic = Traffic()
        self.queue = ReceiveQueue(self.traffic)
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
        return self.queue.take()

    def backlog(self, receiver: NodeId) -> int:
        """Nothing: what is sent has left."""
        return 0

    def wait(self, seconds: float) -> bool:
        """Return at once whether something has arrived: nothing can arrive while the only thread waits."""
        return self.queue.wait(0)

    def report(self, row: Mapping[str, float]) -> None:
        """Keep the latest row."""
        self.reported = dict(row)

    def close(self) -> None:
        """Leave the network."""
        self._network.attached.pop(self._me, None)


_: type[Transport] = MemoryTransport
