"""A client that only reads: it follows the status and the telemetry of a fleet's devices."""

import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.reasoncodes import ReasonCode

from broker.rules import MONITOR
from edge.errors import TransportError
from edge.messaging import topics
from edge.messaging.broker_url import parse
from edge.transports.mqtt import Credentials, new_client, refuse_plain

TIMEOUT = 10.0
"""Seconds to wait for the broker when connecting."""
Take = Callable[[str, bytes, float], None]
"""(topic, payload, seconds since 1970)"""


class Listener(threading.Thread):
    """The thread on which messages arrive. It may end only when it is asked to: what it has shown would go stale."""

    def __init__(self, client: paho.Client) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._reason: BaseException | None = None

    def run(self) -> None:
        """Receive until the client disconnects."""
        try:
            self._client.loop_forever()
        except BaseException as reason:  # whatever it is, it has ended the thread, and `check` says so
            self._reason = reason

    def check(self) -> None:
        """Raise TransportError if nothing is received any more."""
        if not self.is_alive():
            raise TransportError(f"nothing is received from the broker any more: {self._reason!r}")

    def wait(self, stop: threading.Event, pause: float = 1.0) -> None:
        """Wait until `stop` is set. Raises TransportError: the thread has ended before."""
        while not stop.wait(pause):
            self.check()


@contextmanager
def subscribed(url: str, fleet: str, credentials: Path | None, take: Take) -> Iterator[Listener]:
    """Follow a fleet while the block lasts.

    Args:
        url: of the broker.
        fleet: its name.
        credentials: folder of `edge-broker enrol monitor`, for mqtts://.
        take: is called with every message, from a thread of its own.

    Yields:
        The listener, to wait on.

    Raises:
        ConfigError: a URL, name or certificate file cannot be used.
        TransportError: the broker does not answer, or refuses the connection.
    """
    topics.name(fleet, "fleet")
    address = parse(url)
    refuse_plain(address, credentials)
    tls = Credentials.of_folder(credentials) if credentials else Credentials()
    # A name of its own for every process: of two clients with one name the broker throws one out.
    client = new_client(f"{fleet}-{MONITOR}-{secrets.token_hex(4)}", tls=tls if address.tls else None)
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
    listener = Listener(client)
    try:
        listener.start()
        if not settled.wait(TIMEOUT) or refusals[0]:
            raise TransportError(f"the broker at {address.shown} {refusals[0] or 'does not answer'} (monitor)")
        yield listener
    finally:
        client.disconnect()
        listener.join(TIMEOUT)
