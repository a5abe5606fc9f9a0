"""What a transport has been handed and the broker does not have yet: bounded in bytes, and known by receiver."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.interfaces import NodeId

LIMIT = 32_000_000
"""Bytes that may wait to be published. When more do, the oldest are dropped: they are of the oldest round, and whoever
still needs one asks for it. One message waits in any case."""
WINDOW = 2_000_000
"""Bytes that may be on their way to the broker unacknowledged; what waits behind them can still be dropped."""
WINDOW_MESSAGES = 64


@dataclass(frozen=True)
class Outgoing:
    """One message to one receiver."""

    receiver: NodeId
    topic: str
    payload: bytes


@dataclass
class SendQueue:
    """First in, first out, from the thread that sends and the one that hears of acknowledgements.

    Args:
        publish: hands a message to the client library; returns the number that its acknowledgement will have, or None
            if it does not take the message. It is called without a lock, as the library has one of its own.
        dropped: is told how many messages were dropped.
    """

    publish: Callable[[Outgoing], int | None]
    dropped: Callable[[int], None]
    connected: bool = False
    _waiting: deque[Outgoing] = field(default_factory=deque)
    _sent: dict[int, Outgoing] = field(default_factory=dict)
    _bytes: int = 0
    _sent_bytes: int = 0
    _backlog: dict[NodeId, int] = field(default_factory=dict)
    _early: set[int] = field(default_factory=set)
    _pumping: bool = False
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, message: Outgoing) -> None:
        """Publish a message now, or when the broker is there and has acknowledged enough of those before it."""
        with self._changed:
            self._waiting.append(message)
            self._count(message, 1)
            self._bytes += len(message.payload)
            count = 0
            while self._bytes > LIMIT and len(self._waiting) > 1:
                oldest = self._waiting.popleft()
                self._bytes -= len(oldest.payload)
                self._count(oldest, -1)
                count += 1
        if count:
            self.dropped(count)
        self.pump()

    def acknowledged(self, number: int) -> None:
        """The broker has the message of that number; numbers of other messages are ignored."""
        with self._changed:
            if number in self._sent:
                self._release(self._sent.pop(number))
            elif self._pumping:
                self._early.add(number)  # `publish` has not returned its number yet
        self.pump()

    def backlog(self, receiver: NodeId) -> int:
        """Bytes for a receiver that the broker does not have yet."""
        with self._changed:
            return self._backlog.get(receiver, 0)

    def drain(self, seconds: float) -> bool:
        """Wait until the broker has everything (True), or for `seconds` (False)."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._sent, timeout=seconds)

    def pump(self) -> None:
        """Publish what may be; one thread at a time, so that the order stays."""
        with self._changed:
            if self._pumping:
                return  # the other thread looks again before it stops
            self._pumping = True
        try:
            while (message := self._take()) is not None:
                number = self.publish(message)
                with self._changed:
                    if number is None or number in self._early:
                        self._early.discard(-1 if number is None else number)
                        self._release(message)
                    else:
                        self._sent[number] = message
        except BaseException:
            self._stop()
            raise

    def _take(self) -> Outgoing | None:
        """The message to publish now; None, and the end of publishing, if there is none."""
        with self._changed:
            free = self._sent_bytes < WINDOW and len(self._sent) < WINDOW_MESSAGES
            if not (self.connected and self._waiting and free):
                self._stop()
                return None
            message = self._waiting.popleft()
            self._bytes -= len(message.payload)
            self._sent_bytes += len(message.payload)
            return message

    def _stop(self) -> None:
        with self._changed:
            self._pumping = False
            self._early.clear()

    def _release(self, message: Outgoing) -> None:
        self._sent_bytes -= len(message.payload)
        self._count(message, -1)
        self._changed.notify_all()

    def _count(self, message: Outgoing, sign: int) -> None:
        size = self._backlog.get(message.receiver, 0) + sign * len(message.payload)
        if size:
            self._backlog[message.receiver] = size
        else:
            self._backlog.pop(message.receiver, None)
