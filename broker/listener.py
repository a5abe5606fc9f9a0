"""Whoever only listens: a client that is told the status and the telemetry of a fleet's devices."""

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from broker.visitor import Papers
from edge.errors import ConfigError, TransportError
from edge.messaging import topics
from edge.messaging.broker_url import parse

PATIENCE = 10.0
"""Seconds to wait for the broker when connecting."""
Take = Callable[[str, bytes, float], None]
"""(topic, payload, seconds since 1970)"""


@contextmanager
def listening(url: str, name: str, papers: Path | None, take: Take) -> Iterator[None]:
    """Follow the fleet `name` at a broker; `take` is called from a thread of its own.

    papers: the folder of `edge-broker enrol monitor`, for mqtts://.
    Raises ConfigError: a URL or file that cannot be; TransportError: the broker is not there, or refuses us.
    """
    topics.name(name, "fleet")
    address = parse(url)
    settled, said = threading.Event(), [""]
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"{name}-monitor", protocol=paho.MQTTv5)
    client.username_pw_set(address.user, address.password)
    if address.tls:
        shown = Papers(papers / "authority.crt", papers / "device", named=True) if papers else Papers(named=True)
        try:
            client.tls_set_context(shown.context())
        except (OSError, ssl.SSLError) as reason:
            raise ConfigError(f"the certificate files in {papers} cannot be used: {reason}") from None

    def connected(_c: object, _u: object, _f: object, code: ReasonCode, _p: object) -> None:
        said[0] = str(code) if code.is_failure else ""
        for of in (topics.status, topics.telemetry):
            client.subscribe(of(name, "+"), qos=1)
        settled.set()

    client.on_connect = connected
    client.on_message = lambda _c, _u, message: take(message.topic, bytes(message.payload), time.time())
    try:
        client.connect(address.host, address.port)
    except (OSError, ssl.SSLError) as reason:
        raise TransportError(f"no MQTT broker answers at {address.shown} ({reason})") from None
    try:
        client.loop_start()
        if not settled.wait(PATIENCE) or said[0]:
            raise TransportError(f"the broker at {address.shown} {said[0] or 'does not answer'} (monitor)")
        yield
    finally:
        client.disconnect()
        client.loop_stop()
