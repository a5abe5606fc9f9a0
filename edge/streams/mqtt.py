"""Messages of sensors, `mqtt:sensors/+/window?broker=mqtt://HOST&format=json|float32`, each as `edge.payload` takes it.

The broker is that of the sensors, mqtt://127.0.0.1 if absent. A fleet's broker of `edge-broker init` lets its devices
read their own messages only. The session lasts: the broker keeps what comes, at QoS 1 or 2, while the node is away. A
message is acknowledged when it is on disk; if a crash comes between, the broker sends it again under the same number,
by which it is recognised and dropped. What sensors send at QoS 0 while the node is away is lost.
"""

import hashlib
import logging
import queue
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from edge import payload
from edge.errors import ConfigError, DataError, TransportError
from edge.messaging import broker_url
from edge.messaging.broker_url import Url
from edge.payload import StreamItem
from edge.source_options import split
from edge.specs import StreamSpec
from edge.transports.mqtt import new_client

FORMATS = ("json", "float32")
SESSION, LAST = "session", "last"
"""marks: this stream's name to the broker, and the message last kept"""
WAITING = 1000
"""messages that may wait to be kept"""
KEEPALIVE, CONNECT_SECONDS = 30, 10.0
_log = logging.getLogger(__name__)


def follow(argument: str, marks: Mapping[str, str], shape: tuple[int, ...]) -> Iterator[StreamItem | None]:
    """Subscribe to a topic. argument: its filter and options. See `StreamSpec.open`."""
    topic, options = split("mqtt", argument, {"broker": "mqtt://127.0.0.1", "format": "json"}, "stream")
    if options["format"] not in FORMATS:
        raise ConfigError(f"stream 'mqtt:{argument}': format={options['format']}: expected {' or '.join(FORMATS)}")
    broker = broker_url.parse(options["broker"])
    if broker.tls:
        raise ConfigError(f"stream 'mqtt:{argument}': a broker of sensors at mqtts:// is not supported; use mqtt://")
    return _arrivals(broker, topic, options["format"] == "float32", marks, shape)


def _arrivals(
    broker: Url, topic: str, raw: bool, marks: Mapping[str, str], shape: tuple[int, ...]
) -> Iterator[StreamItem | None]:
    session, last = marks.get(SESSION), marks.get(LAST)
    if session is None:
        session = f"murmur-{secrets.token_hex(8)}"
        yield StreamItem(None, {SESSION: session})  # it must be known before the broker keeps anything for it
    subscription = _Subscription(broker, topic, session)
    try:
        while True:
            message = subscription.next()
            if message is None:
                yield None
                continue
            mark = f"{message.mid} {hashlib.sha256(message.payload).hexdigest()[:16]}"
            if not (message.dup and mark == last):
                last = mark
                yield _arrival(bytes(message.payload), raw, shape, {LAST: mark} if message.qos else {})
            subscription.client.ack(message.mid, message.qos)
    finally:
        subscription.close()


def _arrival(content: bytes, raw: bool, shape: tuple[int, ...], marks: Mapping[str, str | None]) -> StreamItem:
    try:
        return StreamItem(payload.parse(content, shape, raw=raw), marks)
    except DataError as reason:
        return StreamItem(None, marks, str(reason))


class _Subscription:
    """A connection with a session that lasts; it ends for good when it breaks, so that nothing is read twice.

    Raises TransportError: the broker is not there, or refuses.
    """

    def __init__(self, broker: Url, topic: str, session: str) -> None:
        self._shown, self._topic = broker.shown, topic
        self._queue: queue.Queue[Any] = queue.Queue(WAITING)
        self._ended = False
        self.client = new_client(session, 3, clean_session=False, manual_ack=True)
        if broker.user is not None:
            self.client.username_pw_set(broker.user, broker.password)
        self.client.connect_timeout = CONNECT_SECONDS
        self.client.on_connect = self._connected
        self.client.on_disconnect = self._disconnected
        self.client.on_message = lambda _client, _data, message: self._queue.put(message)
        try:
            self.client.connect(broker.host, broker.port, KEEPALIVE)
        except OSError as reason:
            raise TransportError(f"{broker.shown}: {reason.strerror or reason}") from None
        self.client.loop_start()

    def next(self) -> Any:
        """Return a message; None if none has come. Raises TransportError: the connection has ended."""
        if self._ended:
            raise TransportError(f"{self._shown} has ended the connection")
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """Leave; the session stays."""
        self._ended = True
        self.client.on_message = None
        while not self._queue.empty():  # whoever waits to put one more
            self._queue.get_nowait()
        self.client.disconnect()
        self.client.loop_stop()

    def _connected(self, client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self._ended = True
        else:
            client.subscribe(self._topic, 1)

    def _disconnected(self, *_: Any) -> None:
        self._ended = True


SPEC = StreamSpec(open=follow)
