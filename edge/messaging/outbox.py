"""What a device has sent: codes each message, and keeps what may be asked for again and what deltas are coded against.

It knows neither the clock nor the transport, and not who is still there: see `edge.messaging.mailbox` for the whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edge.codec import Request, bases_of, decode, encode, join
from edge.interfaces import Array, Exchange, Message, NodeId
from edge.messaging.run_identity import EMULATED, RunIdentity

KEPT_ROUNDS = 2
"""Rounds whose messages can be asked for again. A neighbour that is further behind gives its round up and joins the
present one, so that older messages would serve nobody."""


@dataclass
class SentMessage:
    """One message to one receiver.

    message: as the receiver decodes it. payloads: as they were sent, where there are several and coding the message
    again would give others (deltas); else empty. run: the one that they name. quiet_until: seconds of the device's
    clock before which it is not sent again, and answers: how often it was; the retransmitter's notes.
    """

    message: Message
    payloads: tuple[bytes, ...] = ()
    run: int = EMULATED
    quiet_until: float = 0.0
    answers: int = 0


@dataclass(frozen=True)
class CodedMessage:
    """A message ready for the transport. message: as the receiver decodes it; payloads: at most 512 kB each."""

    receiver: NodeId
    message: Message
    payloads: tuple[bytes, ...]


@dataclass(frozen=True)
class OutboxSnapshot:
    """An outbox at one moment: by (kind, round) and receiver what was sent, by (receiver, kind) the delta bases."""

    sent: Mapping[tuple[str, int], Mapping[NodeId, SentMessage]]
    bases: Mapping[tuple[NodeId, str], Sequence[Message]]


@dataclass
class Outbox:
    """What a device has sent in its last `KEPT_ROUNDS` rounds.

    Args:
        coding: kind of message -> how its body is coded (`edge.codec`).
        identity: the run that messages are sent for.
    """

    coding: Mapping[str, str]
    identity: RunIdentity = field(default_factory=RunIdentity)
    _sent: dict[tuple[str, int], dict[NodeId, SentMessage]] = field(default_factory=dict)
    _bases: dict[tuple[NodeId, str], list[Message]] = field(default_factory=dict)
    """what the next message to a receiver can be coded against, the newest first"""

    def code(self, exchange: Exchange) -> Iterator[CodedMessage]:
        """Code all messages of an exchange and remember them, one at a time, in the order they are to be sent in.

        A message to several receivers that have the same delta bases is coded once.
        """
        coded: dict[tuple[int, ...], tuple[tuple[bytes, ...], Message]] = {}
        for receiver, messages in exchange.send.items():
            for message in messages:
                bases = self._bases.get((receiver, message.kind), [])
                key = tuple(map(id, (message, *bases)))
                if key not in coded:
                    payloads = tuple(encode(message, self.coding[message.kind], bases, self.identity.run))
                    coded[key] = payloads, join([decode(payload) for payload in payloads], bases)
                payloads, decoded = coded[key]
                self._remember(decoded, receiver, payloads)
                yield CodedMessage(receiver, decoded, payloads)

    def find(self, receiver: NodeId, kind: str, number: int) -> SentMessage | None:
        """What `receiver` was sent of this kind in round `number`, if that is still kept."""
        return self._sent.get((kind, number), {}).get(receiver)

    def payloads(self, record: SentMessage, request: Request) -> Sequence[bytes]:
        """The payloads that answer a request for a message that was sent: the chunks it names, or all of it.

        Chunks are repeated as they were sent. The whole message is coded without a delta base, which the receiver may
        not have; it decodes to the same values (`edge.codec`).
        """
        kept = record.payloads if record.run == self.identity.run else ()
        sent = kept or self._whole(record.message)
        if request.missing and request.count == len(sent):
            return [sent[index] for index in request.missing]
        return self._whole(record.message) if kept else sent

    def state(self) -> dict[str, Array]:
        """Everything that can still be asked for, as arrays by name: KIND/ROUND/DIGEST/RECEIVER,RECEIVER,...

        A checkpoint holds it, as a device that was killed still owes these messages to its neighbours. Payloads are
        not in it: after a restart, messages are sent again whole.
        """
        receivers: dict[int, dict[NodeId, Message]] = {}  # one message to many is kept once
        for by_receiver in self._sent.values():
            for receiver, record in by_receiver.items():
                receivers.setdefault(id(record.message), {})[receiver] = record.message
        for (receiver, _), bases in self._bases.items():
            for message in bases:
                receivers.setdefault(id(message), {})[receiver] = message
        arrays = {}
        for same in receivers.values():
            message = next(iter(same.values()))
            name = f"{message.kind}/{message.round}/{message.digest.hex()}/{','.join(sorted(same))}"
            arrays[name] = message.values
        return arrays

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put back what `state` gave. Raises ValueError: a name of another form."""
        for name, array in sorted(values.items(), key=lambda item: int(item[0].split("/")[1])):
            kind, number, digest, names = name.split("/")
            message = Message(kind, int(number), bytes.fromhex(digest), array.astype(np.float32))
            for receiver in names.split(","):
                self._remember(message, receiver, ())

    def snapshot(self) -> OutboxSnapshot:
        """A copy of all it holds, for `restore`; messages and payloads, which never change, are shared."""
        sent = {key: {who: replace(record) for who, record in records.items()} for key, records in self._sent.items()}
        return OutboxSnapshot(sent, {key: tuple(bases) for key, bases in self._bases.items()})

    def restore(self, snapshot: OutboxSnapshot) -> None:
        """Put back what `snapshot` gave."""
        self._sent = {
            key: {who: replace(record) for who, record in records.items()} for key, records in snapshot.sent.items()
        }
        self._bases = {key: list(bases) for key, bases in snapshot.bases.items()}

    def _whole(self, message: Message) -> list[bytes]:
        return encode(message, self.coding[message.kind], run=self.identity.run)

    def _remember(self, message: Message, receiver: NodeId, payloads: tuple[bytes, ...]) -> None:
        if kept := bases_of(self.coding[message.kind]):
            bases = self._bases.setdefault((receiver, message.kind), [])
            bases[:] = [message, *bases][:kept]
        record = SentMessage(message, payloads if kept and len(payloads) > 1 else (), self.identity.run)
        self._sent.setdefault((message.kind, message.round), {})[receiver] = record
        for key in [key for key in self._sent if key[1] <= message.round - KEPT_ROUNDS]:
            del self._sent[key]
