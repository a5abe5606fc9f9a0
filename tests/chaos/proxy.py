"""A bad network: a proxy on loopback that reads MQTT, and loses, repeats, swaps and delays what the broker delivers.

Only messages to a device are touched (PUBLISH at QoS 1), one by one, so that the streams stay sound: to the broker a
lost message has arrived (the proxy acknowledges it). A delay is of everything, both ways, and so is a partition.
"""

import contextlib
import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field


@dataclass
class Weather:
    """Shares of messages that are lost, repeated, and swapped with the next; seconds that everything takes longer."""

    loss: float = 0.0
    twice: float = 0.0
    swapped: float = 0.0
    delay: float = 0.0
    apart: threading.Event = field(default_factory=threading.Event)
    """while it is set nothing gets through"""
    counts: dict[str, int] = field(default_factory=lambda: {"lost": 0, "twice": 0, "swapped": 0, "passed": 0})


@contextlib.contextmanager
def proxy(broker: int, weather: Weather, seed: int) -> Iterator[int]:
    """A port on loopback that leads to the broker's port; connections end with the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_sockets: list[socket.socket] = []
    done = threading.Event()

    def accept() -> None:
        while not done.is_set():
            try:
                device, _ = listener.accept()
                upstream = socket.create_connection(("127.0.0.1", broker))
            except OSError:
                continue
            open_sockets.extend((device, upstream))
            to_broker, to_device = _Line(upstream, weather), _Line(device, weather)
            chance = random.Random(seed + len(open_sockets))
            for work, words in (
                (_up, (device, to_broker)),
                (_down, (upstream, to_broker, to_device, weather, chance)),
                (to_broker.run, ()),
                (to_device.run, ()),
            ):
                threading.Thread(target=_guarded, args=(work, words, (device, upstream)), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        done.set()
        for end in (listener, *open_sockets):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class _Line:
    """What is on its way to one end: everything takes `delay`, and waits while the network is apart."""

    def __init__(self, end: socket.socket, weather: Weather) -> None:
        self.end, self.weather = end, weather
        self.queue: queue.Queue[tuple[float, bytes]] = queue.Queue()

    def put(self, data: bytes) -> None:
        """Send it off."""
        self.queue.put((time.monotonic() + self.weather.delay, data))

    def run(self) -> None:
        """Deliver, until an empty message says that nothing more comes."""
        while True:
            due, data = self.queue.get()
            if not data:
                return
            time.sleep(max(0.0, due - time.monotonic()))
            while self.weather.apart.is_set():
                time.sleep(0.02)
            self.end.sendall(data)


def _guarded(work: Callable[..., None], words: Sequence[object], ends: Sequence[socket.socket]) -> None:
    """Whatever ends one direction ends both."""
    try:
        work(*words)
    except (OSError, EOFError):
        pass
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _up(device: socket.socket, to_broker: _Line) -> None:
    while data := device.recv(65536):
        to_broker.put(data)
    to_broker.put(b"")


def _down(broker: socket.socket, to_broker: _Line, to_device: _Line, weather: Weather, chance: random.Random) -> None:
    held: list[bytes] = []
    while True:
        packet, acknowledgement = _packet(broker)
        if not acknowledgement:
            to_device.put(packet)
            continue
        fate = chance.random()
        if fate < weather.loss:
            weather.counts["lost"] += 1
            to_broker.put(acknowledgement)
        elif fate < weather.loss + weather.swapped and not held:
            weather.counts["swapped"] += 1
            held.append(packet)
        else:
            weather.counts["passed"] += 1
            to_device.put(packet)
            if chance.random() < weather.twice:
                weather.counts["twice"] += 1
                to_device.put(packet)
            while held:
                to_device.put(held.pop())


def _packet(source: socket.socket) -> tuple[bytes, bytes]:
    """One MQTT packet, and the PUBACK that it wants; none for what is no PUBLISH at QoS 1."""
    head = _exactly(source, 2)
    while head[-1] & 128:
        head += _exactly(source, 1)
    length = sum((byte & 127) << 7 * i for i, byte in enumerate(head[1:]))
    body = _exactly(source, length)
    if head[0] >> 4 != 3 or head[0] & 6 != 2:
        return head + body, b""
    at = 2 + int.from_bytes(body[:2], "big")
    return head + body, b"\x40\x02" + body[at : at + 2]


def _exactly(source: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        data = source.recv(count - len(received))
        if not data:
            raise EOFError
        received += data
    return received
