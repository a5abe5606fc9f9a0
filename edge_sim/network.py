"""Where the messages of devices go that are played in step: through memory, or through a broker in real time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from edge.interfaces import Delivery, NodeId, Transport
from edge.messaging.mailbox import Waiting
from edge.transports import memory, mqtt

SLICE = 0.001
"""Seconds for which one transport is listened to before the others are looked at."""


@dataclass(frozen=True)
class Network:
    """What a fleet needs of its surroundings.

    place: for people. attach: makes a device's transport, closed when the network is. now: the
    clock, in seconds. release: called when every device has had its turn; lets what they said arrive, and tells whether
    there was anything. idle: called when every device waits, with their transports and the one that waits least;
    lets time pass until something may have changed.
    """

    place: str
    attach: Callable[[NodeId], Transport]
    now: Callable[[], float]
    idle: Callable[[Sequence[Transport], Waiting], None]
    release: Callable[[], bool] = lambda: False


@dataclass
class Clock:
    """Virtual seconds: they pass only when every device waits."""

    seconds: float = 0.0

    def __call__(self) -> float:
        """Read the clock."""
        return self.seconds


@contextmanager
def in_memory(fleet: str) -> Iterator[Network]:
    """Virtual time: messages arrive when all have had their turn; when all wait, the clock jumps to a deadline."""
    clock = Clock()
    held: list[tuple[NodeId, Delivery]] = []
    hub = memory.Network(fleet, lambda receiver, _topic, delivery: held.append((receiver, delivery)))

    def release() -> bool:
        found = bool(held)
        for receiver, delivery in held:
            hub.arrive(receiver, delivery)
        held.clear()
        return found

    def idle(_: Sequence[Transport], waiting: Waiting) -> None:
        clock.seconds = max(clock.seconds, waiting.until)

    yield Network("memory", hub.attach, clock, idle, release)


@contextmanager
def over_mqtt(
    fleet: str, url: str, now: Callable[[], float], connect: Callable[..., Transport] = mqtt.create
) -> Iterator[Network]:
    """A client per device on the broker at `url`; real time. connect: makes one, called as `mqtt.create` is."""
    with ExitStack() as stack:

        def attach(me: NodeId) -> Transport:
            transport = connect(url=url, fleet=fleet, me=me, lasting=False)
            stack.callback(transport.close)
            return transport

        def idle(transports: Sequence[Transport], waiting: Waiting) -> None:
            # Anybody's message may be the one that lets all go on.
            while (left := waiting.until - now()) > 0 and not any(t.wait(0) for t in transports):
                transports[0].wait(min(left, SLICE))

        yield Network(url, attach, now, idle)
