"""Messages over an MQTT broker: MQTT 5, or 3.1.1 where the broker does not speak it. QoS 1.

paho's network thread keeps the session alive and fills the receive queue; everything else happens on the caller's
thread. Where paho 2 behaves unexpectedly, a comment says how, beside the code that guards against it.
"""

import contextlib
import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho  # noqa: TID251 - this is its file
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode  # noqa: TID251
from paho.mqtt.packettypes import PacketTypes  # noqa: TID251
from paho.mqtt.properties import Properties  # noqa: TID251

from edge.errors import ConfigError, TransportError
from edge.interfaces import Delivery, NodeId, Traffic, Transport
from edge.messaging import topics
from edge.messaging.broker_url import Url, parse
from edge.transports._receive_queue import LARGEST, ReceiveQueue, count_sent
from edge.transports._send_queue import LIMIT, WINDOW_MESSAGES, Outgoing, SendQueue

KEEPALIVE = 30
"""Seconds of silence after which the broker takes a device for dead and publishes its last will."""
SESSION = 24 * 3600
"""Seconds for which the broker keeps what neighbours send to a device that is away."""
TAKEN_OVER = 142
"""MQTT 5's reason why a broker ends a connection: another client has connected under the same name."""
TAKEOVERS = 5
"""Takeovers after which this process ends: two nodes have one name, and each throws out the other."""
TAKEOVER_DELAY = 2.0
"""Seconds before the first reconnection after a takeover; then twice as many, and so on."""
RETRY = (1, 30)
"""Seconds between attempts to reconnect: at first, at most."""
ANSWER_TIMEOUT = 10.0
"""Seconds to wait for the broker's answers when connecting and when closing."""
CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
)
"""of TLS 1.2: forward secret and authenticated (AEAD), as all of TLS 1.3 are"""
LONGEST_STATUS = 16
"""Bytes of a status that are looked at."""
MAX_PAYLOAD = 512_000
"""Bytes: brokers of today take at least this."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Credentials:
    """Files (PEM) for `mqtts://`: the authority behind the broker's certificate, and the client's certificate and key.

    ca: the system's authorities if absent. check_hostname: whether the broker has to prove the name it is reached by.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    check_hostname: bool = True

    @classmethod
    def of_folder(cls, folder: Path, *, check_hostname: bool = True) -> "Credentials":
        """Name the files of a folder that `edge-broker enrol` made."""
        return cls(folder / "authority.crt", folder / "device.crt", folder / "device.key", check_hostname)

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings of a client.

        Raises:
            ConfigError: a file is missing, or is no certificate or key.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = self.check_hostname
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        try:
            if self.ca is None:
                context.load_default_certs()
            else:
                context.load_verify_locations(self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as reason:
            names = ", ".join(str(path) for path in (self.ca, self.certificate, self.key) if path)
            raise ConfigError(f"the certificate files {names} cannot be used: {reason}") from None
        return context


def new_client(identifier: str, version: int = 5, *, tls: Credentials | None = None, **options: Any) -> paho.Client:
    """Return a paho client that is not connected yet: the one place where a client is made.

    Args:
        identifier: names the client, and its session, to the broker.
        version: of MQTT, 5 or 3 (meaning 3.1.1).
        tls: speak TLS with these credentials; plain TCP if absent.
        options: more arguments of `paho.mqtt.client.Client`.

    Raises:
        ConfigError: the credentials cannot be used.
    """
    protocol = paho.MQTTv5 if version == 5 else paho.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=identifier, protocol=protocol, **options)
    if tls is not None:
        client.tls_set_context(tls.context())
    return client


def create(
    *,
    url: str,
    fleet: str,
    me: NodeId,
    lasting: bool = True,
    credentials: Credentials | None = None,
    version: int = 0,
    fresh: bool = False,
) -> "MqttTransport":
    """Connect to a broker, and subscribe to the device's inbox.

    Args:
        url: mqtt://[USER:PASSWORD@]HOST[:PORT], or mqtts://... with credentials.
        fleet: its name, as it stands in topics.
        me: the device; names the session, too.
        lasting: whether the broker keeps the session, and messages to the device, while it is away.
        credentials: for mqtts://.
        version: 5 or 3 (meaning 3.1.1) insists on one; 0 tries 5, then 3.
        fresh: whether the broker is to forget first what it has kept for the device.

    Returns:
        The transport, connected and subscribed.

    Raises:
        ConfigError: a malformed URL or name, or certificate files that cannot be used.
        TransportError: nothing answers there, or the broker refuses the connection.
    """
    topics.name(fleet, "fleet")
    topics.name(me, "device")
    address = parse(url)
    refuse_plain(address, credentials)
    if fresh:  # a client that keeps no session, which ends the one that is there
        create(url=url, fleet=fleet, me=me, lasting=False, credentials=credentials, version=version).close()
    if version:
        return MqttTransport(address, fleet, me, lasting, credentials, version)
    try:
        return MqttTransport(address, fleet, me, lasting, credentials, 5)
    except _WrongVersion:
        return MqttTransport(address, fleet, me, lasting, credentials, 3)


def refuse_plain(address: Url, credentials: object) -> None:
    """Refuse an address that would leave credentials unused. Raises ConfigError."""
    if credentials is not None and not address.tls:
        raise ConfigError(
            f"{address.shown} is not encrypted, and certificates are given: write mqtts://{address.host}, or leave "
            "them out ([tls] in node.toml, --credentials)"
        )


class _WrongVersion(TransportError):
    """The broker does not speak this version of MQTT."""


class MqttTransport:
    """See `edge.interfaces.Transport`."""

    def __init__(
        self,
        address: Url,
        fleet: str,
        me: NodeId,
        lasting: bool,
        credentials: Credentials | None,
        version: int,
    ) -> None:
        self.traffic = Traffic()
        self.version = version
        self._queue = ReceiveQueue(self.traffic)
        self._fleet, self._me = fleet, me
        self._url = address.shown
        self._settled = threading.Event()
        self._refusal: str | None = None
        self._answered = False
        self._closed = False
        self._failure: str | None = None
        self._watched: tuple[NodeId, ...] = ()
        self._outgoing = SendQueue(self._publish, self._dropped)
        self._client = self._create_client(address, lasting, credentials)
        self._connect(address, lasting)

    def send(self, receiver: NodeId, kind: str, payload: bytes) -> None:
        """See `Transport.send`."""
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"a payload of {len(payload)} bytes must be cut into chunks of {MAX_PAYLOAD}")
        topic = topics.Address(self._fleet, receiver, self._me, kind).topic
        self._outgoing.put(Outgoing(receiver, topic, payload))

    def receive(self) -> list[Delivery]:
        """See `Transport.receive`. Raises TransportError: another node with this name has taken the session over."""
        if self._failure:
            raise TransportError(self._failure)
        return self._queue.take()

    def backlog(self, receiver: NodeId) -> int:
        """See `Transport.backlog`."""
        return self._outgoing.backlog(receiver)

    def watch(self, devices: Iterable[NodeId]) -> None:
        """Deliver from now on, as `topics.PRESENCE`, what the broker says about whether these devices are online."""
        self._watched = tuple(devices)
        self._subscribe_status()

    def wait(self, seconds: float) -> bool:
        """See `Transport.wait`."""
        return self._queue.wait(seconds)

    def report(self, row: Mapping[str, float]) -> None:
        """See `Transport.report`."""
        self._client.publish(topics.telemetry(self._fleet, self._me), json.dumps(dict(row)), qos=0)

    def retain(self, messages: Mapping[str, str]) -> None:
        """Publish retained messages, topic -> payload, for clients that subscribe later."""
        for topic, payload in messages.items():
            self._client.publish(topic, payload, qos=1, retain=True)

    def connection(self) -> socket.socket:
        """Return the open socket, to measure what it carries. Raises TransportError: it is not connected just now."""
        connection = self._client.socket()
        if not isinstance(connection, socket.socket):
            raise TransportError(f"{self._me} is not connected to {self._url}")
        return connection

    def close(self) -> None:
        """See `Transport.close`. Waits until the broker has what was sent, ANSWER_TIMEOUT seconds at most for each."""
        if self._closed:
            return
        self._closed = True
        if self._client.is_connected():
            self._outgoing.drain(ANSWER_TIMEOUT)
            goodbye = self._client.publish(topics.status(self._fleet, self._me), topics.OFFLINE, qos=1, retain=True)
            # It raises for a message that paho has given up; there is nothing left to do then.
            with contextlib.suppress(RuntimeError, ValueError):
                goodbye.wait_for_publish(ANSWER_TIMEOUT)
        self._client.disconnect()
        self._client.loop_stop()

    def _create_client(self, address: Url, lasting: bool, credentials: Credentials | None) -> paho.Client:
        tls = credentials or Credentials()
        client = new_client(
            f"{self._fleet}-{self._me}",
            self.version,
            tls=tls if address.tls else None,
            clean_session=None if self.version == 5 else not lasting,
        )
        client.max_queued_messages_set(2 * WINDOW_MESSAGES)  # unlimited otherwise; must be set before connecting
        client.max_inflight_messages_set(WINDOW_MESSAGES)
        client.reconnect_delay_set(0.05, 1)  # type: ignore[arg-type]  # paho sleeps for it even when it is asked to stop
        client.username_pw_set(address.user, address.password)
        client.will_set(topics.status(self._fleet, self._me), topics.OFFLINE, qos=1, retain=True)
        client.on_publish = self._on_publish
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    def _connect(self, address: Url, lasting: bool) -> None:
        settings: dict[str, Any] = {}
        if self.version == 5:
            settings = {"clean_start": not lasting, "properties": Properties(PacketTypes.CONNECT)}  # type: ignore[no-untyped-call]
            settings["properties"].SessionExpiryInterval = SESSION if lasting else 0
        try:
            self._client.connect(address.host, address.port, KEEPALIVE, **settings)
        except (OSError, ssl.SSLError) as reason:
            brief = (reason.strerror if isinstance(reason, OSError) else None) or str(reason)
            raise TransportError(
                f"no MQTT broker answers at {self._url} ({brief}); start one (edge-broker dev) or name another"
            ) from None
        self._client.loop_start()
        if self._settled.wait(ANSWER_TIMEOUT) and self._refusal is None:
            self._client.reconnect_delay_set(*RETRY)
            return
        self._closed = True
        self._client.disconnect()
        self._client.loop_stop()
        if self.version == 5 and not self._answered:
            raise _WrongVersion(f"what listens at {self._url} does not answer in MQTT 5")
        raise TransportError(f"the broker at {self._url} {self._refusal or 'does not answer'} (device {self._me})")

    # Callbacks, on paho's thread. An exception here would end that thread while is_connected() stays true.

    def _on_connect(self, client: paho.Client, _data: object, _flags: object, code: Any, _p: object) -> None:
        try:
            if code.is_failure:
                self._answered = "protocol version" not in str(code).lower()
                self._refuse(f"refuses the connection: {code}")
                return
            self._answered = True
            client.subscribe(topics.inbox(self._fleet, self._me), qos=1)  # a lost session has lost it, too
            client.publish(topics.status(self._fleet, self._me), topics.ONLINE, qos=1, retain=True)
            self._subscribe_status()
            self._outgoing.connected = True
            self._outgoing.pump()
        except Exception:
            _log.exception("on_connect")

    def _on_subscribe(self, _client: paho.Client, _data: object, _mid: int, codes: Any, _p: object) -> None:
        try:
            if any(code.is_failure for code in codes):
                self._refuse(f"does not let this device read its inbox: {codes[0]}")
            self._settled.set()
        except Exception:
            _log.exception("on_subscribe")

    def _on_disconnect(self, client: paho.Client, _data: object, _f: object, code: Any, _p: object) -> None:
        try:
            self._outgoing.connected = False
            if not self._settled.is_set():  # from later disconnections paho recovers by reconnecting
                self._refuse(f"ends the connection: {code}")
            elif code.value == TAKEN_OVER and not self._closed:
                self._taken_over(client)
        except Exception:
            _log.exception("on_disconnect")

    def _taken_over(self, client: paho.Client) -> None:
        """Come back later each time, and end after some."""
        self.traffic.taken_over += 1
        count = self.traffic.taken_over
        _log.warning("the broker has given this device's session to another client that calls itself %s", self._me)
        delay = TAKEOVER_DELAY * 2 ** (count - 1)
        client.reconnect_delay_set(delay, max(delay, RETRY[1]))
        if count >= TAKEOVERS:
            self._failure = f"another node calls itself {self._me} in fleet {self._fleet}: it has taken this one's "
            self._failure += f"session at {self._url} over {count} times; give each its own id"
            client.disconnect()
            self._queue.wake()

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        try:
            address, own = topics.parse(message.topic), topics.parse_device(message.topic)
            if own and own.device in self._watched and own.channel == topics.STATUS:
                self._queue.note(Delivery(own.device, topics.PRESENCE, bytes(message.payload)[:LONGEST_STATUS]))
            elif message.retain:  # what a broker has kept for newcomers: no message between neighbours is meant to be
                return
            elif address and address.fleet == self._fleet and address.receiver == self._me:
                # A payload too large to look at is not kept either, only counted.
                payload = bytes(message.payload) if len(message.payload) <= LARGEST else bytes(LARGEST + 1)
                self._queue.put(Delivery(address.sender, address.kind, payload))
        except Exception:
            _log.exception("on_message")

    def _on_publish(self, _client: paho.Client, _data: object, number: int, _code: object, _p: object) -> None:
        try:
            self._outgoing.acknowledged(number)
        except Exception:
            _log.exception("on_publish")

    def _publish(self, message: Outgoing) -> int | None:
        info = self._client.publish(message.topic, message.payload, qos=1, properties=self._expiry())
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self._dropped(1)
            return None
        # paho returns NO_CONN for a message that it has queued: that is no error
        count_sent(self.traffic, message.receiver, message.topic, message.payload, self.version)
        return info.mid

    def _dropped(self, count: int) -> None:
        if not self.traffic.dropped:
            _log.warning("more than %d MB wait for the broker: the oldest messages are dropped", LIMIT // 1_000_000)
        self.traffic.dropped += count

    def _subscribe_status(self) -> None:
        """A broker whose rules do not allow it refuses; then offline devices are waited for."""
        if self._watched and self._client.is_connected():
            self._client.subscribe([(topics.status(self._fleet, device), 1) for device in self._watched])

    def _refuse(self, reason: str) -> None:
        self._refusal = self._refusal or reason
        self._settled.set()

    def _expiry(self) -> Properties | None:
        if self.version != 5:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.MessageExpiryInterval = topics.EXPIRY
        return properties


_: type[Transport] = MqttTransport
