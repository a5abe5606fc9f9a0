"""A client that tries things: connects, publishes, listens, and tells what it was allowed."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

PATIENCE = 8.0
"""Seconds to wait for an answer of the broker's."""


@dataclass(frozen=True)
class Papers:
    """What a client shows: its certificate and key, and the authority it trusts. None of them: plain TCP."""

    ca: Path | None = None
    stem: Path | None = None
    named: bool = False
    """whether the server has to prove the name by which it is reached"""

    def context(self) -> ssl.SSLContext:
        """For a client."""
        made = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        made.check_hostname = self.named
        if self.stem:
            made.load_cert_chain(f"{self.stem}.crt", f"{self.stem}.key")
        return made


@dataclass
class Visitor:
    """A connected client; `accepted` is None until the broker has answered, `reason` why it was not."""

    client: paho.Client
    accepted: bool | None = None
    reason: str = ""
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    answers: dict[int, str] = field(default_factory=dict)

    @property
    def connected(self) -> bool:
        """Whether it still is."""
        return self.accepted is True

    def publish(self, topic: str, payload: bytes = b"x", retain: bool = False) -> str:
        """At QoS 1; the broker's answer, e.g. "Success", "Not authorized", or why the connection ended."""
        number = self.client.publish(topic, payload, qos=1, retain=retain).mid
        self.until(lambda: number in self.answers or not self.connected)
        return self.answers.get(number, self.reason or "no answer")

    def subscribe(self, topic: str) -> str:
        """At QoS 1; the broker's answer."""
        number = self.client.subscribe(topic, qos=1)[1] or 0
        self.until(lambda: number in self.answers or not self.connected)
        return self.answers.get(number, self.reason or "no answer")

    def until(self, condition: Any, seconds: float = PATIENCE) -> bool:
        """Wait for it, as long as there is a connection; whether it came true."""
        with self.changed:
            self.changed.wait_for(lambda: condition() or self.accepted is False, seconds)
            return bool(condition())


@contextmanager
def visit(host: str, port: int, papers: Papers, name: str, *, wait: float = PATIENCE) -> Iterator[Visitor]:
    """Connect as MQTT 5 client `name`; not being let in is no error, but is told by the visitor."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5, reconnect_on_failure=False)
    visitor = Visitor(client)

    def note(**changes: Any) -> None:
        with visitor.changed:
            for key, value in changes.items():
                setattr(visitor, key, value)
            visitor.changed.notify_all()

    def answered(number: int, what: str) -> None:
        with visitor.changed:
            visitor.answers[number] = what
            visitor.changed.notify_all()

    def arrived(_c: object, _u: object, message: paho.MQTTMessage) -> None:
        with visitor.changed:
            visitor.heard.append((message.topic, bytes(message.payload)))
            visitor.changed.notify_all()

    client.on_connect = lambda _c, _u, _f, code, _p: note(accepted=not code.is_failure, reason=str(code))
    client.on_connect_fail = lambda _c, _u: note(accepted=False, reason="no connection")
    client.on_disconnect = lambda _c, _u, _f, code, _p: note(accepted=False, reason=str(code))
    client.on_publish = lambda _c, _u, number, code, _p: answered(number, str(code))
    client.on_subscribe = lambda _c, _u, number, codes, _p: answered(number, str(codes[0]))
    client.on_message = arrived
    if papers.ca:
        client.tls_set_context(papers.context())
    try:
        client.connect(host, port)
        client.loop_start()
        visitor.until(lambda: visitor.accepted is not None, wait)
        if visitor.accepted is None:
            note(accepted=False, reason="no answer")
    except (OSError, ssl.SSLError) as reason:
        note(accepted=False, reason=str(reason))
    try:
        yield visitor
    finally:
        client.disconnect()
        client.loop_stop()
