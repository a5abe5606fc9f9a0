"""A client that only reads: it follows the status and the telemetry of a fleet's devices."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from edge.errors import TransportError
from edge.messaging import topics
from edge.messaging.broker_url import parse
from edge.transports.mqtt import Credentials, new_client

TIMEOUT = 10.0
"""Seconds to wait for the broker when connecting."""
Take = Callable[[str, bytes, float], None]
"""(topic, payload, seconds since 1970)"""


@contextmanager
def subscribed(url: str, fleet: str, credentials: Path | None, take: Take) -> Iterator[None]:
    """Follow a fleet while the block lasts.

    Args:
        url: of the broker.
        fleet: its name.
        credentials: folder of `edge-broker enrol monitor`, for mqtts://.
        take: is called with every message, from a thread of its own.

    Raises:
        ConfigError: a URL, name or certificate file cannot be used.
        TransportError: the broker does not answer, or refuses the connection.
    """
    topics.name(fleet, "fleet")
    address = parse(url)
    tls = Credentials.of_folder(credentials) if credentials else Credentials()
    client = new_client(f"{fleet}-monitor", tls=tls if address.tls else None)
    client.username_pw_set(address.user, address.password)
    settled, refusals = threading.Event(), [""]

    def connected(_c: paho.Client, _u: object, _f: object, code: ReasonCode, _p: object) -> None:
        refusals[0] = str(code) if code.is_failure else ""
        for topic in (topics.status(fleet, "+"), topics.telemetry(fleet, "+")):
            client.subscribe(topic, qos=1)
        settled.set()

    client.on_connect = connected
    client.on_message = lambda _c, _u, message: take(message.topic, bytes(message.payload), time.time())
    try:
        client.connect(address.host, address.port)
    except (OSError, ssl.SSLError) as reason:
        raise TransportError(f"no MQTT broker answers at {address.shown} ({reason})") from None
    try:
        client.loop_start()
        if not settled.wait(TIMEOUT) or refusals[0]:
            raise TransportError(f"the broker at {address.shown} {refusals[0] or 'does not answer'} (monitor)")
        yield
    finally:
        client.disconnect()
        client.loop_stop()
