"""What both transports share: a bounded inbox, and how traffic is counted."""

import threading
from collections import deque

from edge.interfaces import Delivery, NodeId, Traffic
from edge.messaging.topics import publish_size

PER_SENDER = 256
"""Deliveries kept of one sender."""
TOTAL = 64_000_000
"""Bytes kept in all."""
SENDERS = 1024
"""Senders kept apart; more than these is an attack, and not listened to."""
LARGEST = 600_000
"""Bytes of a payload that is still looked at."""


def count_sent(traffic: Traffic, receiver: NodeId, topic: str, payload: bytes, version: int = 5) -> None:
    """Count a message on its way out by MQTT `version`."""
    traffic.messages_sent += 1
    traffic.sent_to[receiver] = traffic.sent_to.get(receiver, 0) + len(payload)
    traffic.payload_bytes_sent += len(payload)
    traffic.wire_bytes_sent += publish_size(topic, len(payload), version)


class Inbox:
    """Filled by one thread, read by another."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._waiting: deque[Delivery] = deque()
        self._of: dict[str, int] = {}
        self._bytes = 0
        self._changed = threading.Condition()

    def put(self, delivery: Delivery) -> None:
        """Keep a delivery, at the cost of the oldest of its sender (or of all) if there is no room."""
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

    def take(self) -> list[Delivery]:
        """Everything, oldest first."""
        with self._changed:
            found = list(self._waiting)
            self._waiting.clear()
            self._of.clear()
            self._bytes = 0
            return found

    def wait(self, seconds: float) -> bool:
        """Whether something is there, after at most `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._waiting), timeout=seconds)

    def _drop(self, delivery: Delivery) -> None:
        self._waiting.remove(delivery)
        self._of[delivery.sender] -= 1
        self._bytes -= len(delivery.payload)
        self._traffic.overflowed += 1
