"""What both transports share: a bounded queue of what was received, and how traffic is counted."""

import threading
from collections import deque

from edge.interfaces import Delivery, NodeId, Traffic
from edge.messaging.topics import publish_size

PER_SENDER = 256
"""The newest deliveries kept of one sender, so that a flood costs messages of whoever sends it and of nobody else."""
TOTAL = 64_000_000
"""Bytes kept in all: a board with 512 MB stays within its memory whatever arrives."""
SENDERS = 1024
"""Senders that are kept apart. Only members of the fleet can send, so that more than these is an attack."""
LARGEST = 600_000
"""Bytes of a payload, at most: what the wire format allows (512,000), and some more."""


def count_sent(traffic: Traffic, receiver: NodeId, topic: str, payload: bytes, version: int = 5) -> None:
    """Count a payload that is sent.

    Args:
        traffic: where to count.
        receiver: of the payload.
        topic: on which it is published.
        payload: the bytes.
        version: of MQTT, 5 or 3 (3.1.1), whose packets differ in size.
    """
    traffic.messages_sent += 1
    traffic.sent_to[receiver] = traffic.sent_to.get(receiver, 0) + len(payload)
    traffic.payload_bytes_sent += len(payload)
    traffic.wire_bytes_sent += publish_size(topic, len(payload), version)


class ReceiveQueue:
    """Deliveries from the thread that receives them to the thread that reads them.

    Bounded: it drops the oldest delivery of a sender, or of all, rather than grow, and counts `Traffic.overflowed`.

    Args:
        traffic: where deliveries are counted.
    """

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._waiting: deque[Delivery] = deque()
        self._of: dict[str, int] = {}
        self._bytes = 0
        self._woken = False
        self._changed = threading.Condition()

    def put(self, delivery: Delivery) -> None:
        """Keep a delivery; if there is no room, drop the oldest of its sender, or of all."""
        size = len(delivery.payload)
        with self._changed:
            self._traffic.messages_received += 1
            self._traffic.payload_bytes_received += size
            crowded = delivery.sender not in self._of and len(self._of) >= SENDERS
            if size > LARGEST or crowded:
                self._traffic.overflowed += 1
                return
            if self._of.get(delivery.sender, 0) >= PER_SENDER:
                self._drop(next(d for d in self._waiting if d.sender == delivery.sender))
            while self._bytes + size > TOTAL:
                self._drop(self._waiting[0])
            self._waiting.append(delivery)
            self._of[delivery.sender] = self._of.get(delivery.sender, 0) + 1
            self._bytes += size
            self._changed.notify_all()

    def note(self, delivery: Delivery) -> None:
        """Keep what the transport itself says, of which at most the newest per sender waits; it is no traffic."""
        with self._changed:
            for older in [d for d in self._waiting if (d.sender, d.kind) == (delivery.sender, delivery.kind)]:
                self._waiting.remove(older)
                self._of[older.sender] -= 1
                self._bytes -= len(older.payload)
            self._waiting.append(delivery)
            self._of[delivery.sender] = self._of.get(delivery.sender, 0) + 1
            self._bytes += len(delivery.payload)
            self._changed.notify_all()

    def wake(self) -> None:
        """Let `wait` return now, once: something else has happened."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def take(self) -> list[Delivery]:
        """Remove and return everything, oldest first."""
        with self._changed:
            deliveries = list(self._waiting)
            self._waiting.clear()
            self._of.clear()
            self._bytes = 0
            self._woken = False
            return deliveries

    def wait(self, seconds: float) -> bool:
        """Wait until something has arrived (True), or for `seconds` (False)."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._waiting) or self._woken, timeout=seconds)

    def _drop(self, delivery: Delivery) -> None:
        self._waiting.remove(delivery)
        self._of[delivery.sender] -= 1
        self._bytes -= len(delivery.payload)
        self._traffic.overflowed += 1
