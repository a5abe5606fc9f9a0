"""A client that tries things: it connects, publishes, subscribes, and keeps what the broker answered."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho

from edge.transports.mqtt import Credentials, new_client

TIMEOUT = 8.0
"""Seconds to wait for an answer of the broker's."""
MOST_BYTES = 300_000_000
"""of messages that have arrived and that nobody has taken; more are dropped"""


@dataclass
class ProbeClient:
    """A client that may or may not have been let in.

    accepted: None until the broker has answered. reason: the broker's last word on the connection, e.g. why it was
    refused. messages: (topic, payload) of all that arrived. answers: the broker's answers by packet number.
    """

    client: paho.Client
    accepted: bool | None = None
    reason: str = ""
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    held: int = 0
    """bytes in `messages`"""
    changed: threading.Condition = field(default_factory=threading.Condition)
    answers: dict[int, str] = field(default_factory=dict)

    @property
    def connected(self) -> bool:
        """Whether the broker let the client in and the connection is still open."""
        return self.accepted is True

    def publish(self, topic: str, payload: bytes = b"x", retain: bool = False) -> str:
        """Publish at QoS 1.

        Returns:
            The broker's answer, e.g. "Success" or "Not authorized", or why the connection ended.
        """
        number = self.client.publish(topic, payload, qos=1, retain=retain).mid
        return self._answer(number)

    def subscribe(self, topic: str) -> str:
        """Subscribe at QoS 1; returns the broker's answer, e.g. "Granted QoS 1"."""
        return self._answer(self.client.subscribe(topic, qos=1)[1] or 0)

    def take(self) -> list[tuple[str, bytes]]:
        """Return the messages that have arrived since the last call, which are not kept."""
        with self.changed:
            messages, self.messages, self.held = self.messages, [], 0
        return messages

    def until(self, condition: Callable[[], bool], seconds: float = TIMEOUT) -> bool:
        """Wait until a condition holds, as long as the connection is open; returns whether it does."""
        with self.changed:
            self.changed.wait_for(lambda: condition() or self.accepted is False, seconds)
            return bool(condition())

    def update(self, **changes: Any) -> None:
        """Set attributes and wake who waits; called on paho's thread."""
        with self.changed:
            for key, value in changes.items():
                setattr(self, key, value)
            self.changed.notify_all()

    def answer(self, number: int, text: str) -> None:
        """Keep the broker's answer to a packet, and wake who waits."""
        with self.changed:
            self.answers[number] = text
            self.changed.notify_all()

    def arrive(self, message: paho.MQTTMessage) -> None:
        """Keep a message, if there is room, and wake who waits."""
        with self.changed:
            self.held += len(message.payload)
            if self.held <= MOST_BYTES:
                self.messages.append((message.topic, bytes(message.payload)))
            self.changed.notify_all()

    def _answer(self, number: int) -> str:
        self.until(lambda: number in self.answers or not self.connected)
        return self.answers.get(number, self.reason or "no answer")


@contextmanager
def connect(
    host: str, port: int, credentials: Credentials | None, name: str, *, timeout: float = TIMEOUT
) -> Iterator[ProbeClient]:
    """Connect with MQTT 5 while the block lasts. Not being let in is no error: the client says so.

    Args:
        host: of the broker.
        port: of the broker.
        credentials: plain TCP if None.
        name: the client's identifier.
        timeout: seconds to wait for the broker's answer.

    Raises:
        ConfigError: the credentials' files cannot be used.
    """
    client = new_client(name, tls=credentials, reconnect_on_failure=False)
    probe = ProbeClient(client)
    client.on_connect = lambda _c, _u, _f, code, _p: probe.update(accepted=not code.is_failure, reason=str(code))
    client.on_connect_fail = lambda _c, _u: probe.update(accepted=False, reason="no connection")
    client.on_disconnect = lambda _c, _u, _f, code, _p: probe.update(accepted=False, reason=str(code))
    client.on_publish = lambda _c, _u, number, code, _p: probe.answer(number, str(code))
    client.on_subscribe = lambda _c, _u, number, codes, _p: probe.answer(number, str(codes[0]))
    client.on_message = lambda _c, _u, message: probe.arrive(message)
    try:
        client.connect(host, port)
        client.loop_start()
        probe.until(lambda: probe.accepted is not None, timeout)
        if probe.accepted is None:
            probe.update(accepted=False, reason="no answer")
    except (OSError, ssl.SSLError) as reason:
        probe.update(accepted=False, reason=str(reason))
    try:
        yield probe
    finally:
        client.disconnect()
        client.loop_stop()
