"""Where the messages of an emulation go: through memory in virtual time, or through a broker."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from edge.interfaces import NodeId, Transport
from edge.node import Waiting
from edge.transports import memory, mqtt


@dataclass(frozen=True)
class Network:
    """What a fleet needs of its surroundings.

    place: for people. attach: makes a device's transport, closed when the network is. now: the
    clock, in seconds. idle: called when every device waits, with one of them; lets time pass until
    something may have changed.
    """

    place: str
    attach: Callable[[NodeId], Transport]
    now: Callable[[], float]
    idle: Callable[[Transport, Waiting], None]


@dataclass
class Clock:
    """Virtual seconds: they pass only when every device waits."""

    seconds: float = 0.0

    def __call__(self) -> float:
        """Read the clock."""
        return self.seconds


@contextmanager
def in_memory(fleet: str) -> Iterator[Network]:
    """Virtual time: nothing is ever under way, so when all wait, the clock jumps to the first deadline."""
    clock = Clock()
    hub = memory.Network(fleet)

    def idle(_: Transport, waiting: Waiting) -> None:
        clock.seconds = max(clock.seconds, waiting.until)

    yield Network("memory", hub.attach, clock, idle)


@contextmanager
def over_mqtt(fleet: str, url: str, now: Callable[[], float]) -> Iterator[Network]:
    """A client per device on the broker at `url`; real time."""
    with ExitStack() as stack:

        def attach(me: NodeId) -> Transport:
            transport = mqtt.create(url=url, fleet=fleet, me=me, lasting=False)
            stack.callback(transport.close)
            return transport

        def idle(transport: Transport, waiting: Waiting) -> None:
            transport.wait(max(0.0, waiting.until - now()))

        yield Network(url, attach, now, idle)
