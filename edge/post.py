"""What a device says, has said lately, and is told: between the loop's exchanges and the transport's bytes."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.codec import AGAIN, bases_of, decode, encode, join, request, requested
from edge.errors import MessageError
from edge.inbox import Inbox
from edge.interfaces import Array, Delivery, Exchange, Message, NodeId, Transport

ASK_EVERY = 2.0
"""Seconds of silence after which a device asks again; then after twice as many, and so on."""
REMEMBERED = 2
"""Rounds whose messages can be asked for again: a neighbour is never further behind, or it jumps ahead."""


@dataclass(frozen=True)
class Waiting:
    """The loop cannot go on until one of `missing` has spoken, or the clock reads `until` (seconds)."""

    missing: tuple[NodeId, ...]
    until: float


@dataclass
class _Said:
    """A message as its receiver decodes it, and when it may be repeated.

    payloads: as they were sent, where there are several and coding it again would give others.
    """

    message: Message
    payloads: Sequence[bytes] = ()
    quiet_until: float = 0.0


class Post:
    """One device's correspondence.

    coding: kind of message -> how its body is coded (`edge.codec`). now: the clock, in seconds.
    """

    def __init__(self, transport: Transport, inbox: Inbox, coding: Mapping[str, str], now: Callable[[], float]) -> None:
        self.transport = transport
        self.inbox = inbox
        self._coding = coding
        self.now = now
        self._said: dict[tuple[str, int], dict[NodeId, _Said]] = {}

    def tell(self, exchange: Exchange) -> dict[NodeId, dict[str, Message]]:
        """Send; returns, per receiver and kind, the message as it will be decoded there."""
        decoded: dict[NodeId, dict[str, Message]] = {}
        coded: dict[tuple[int, ...], tuple[list[bytes], Message]] = {}  # one message to many is coded once
        for receiver, messages in exchange.send.items():
            for message in messages:
                bases = self._bases(receiver, message.kind)
                key = tuple(map(id, (message, *bases)))
                if key not in coded:
                    payloads = encode(message, self._coding[message.kind], bases)
                    coded[key] = payloads, join([decode(p) for p in payloads], bases)
                payloads, said = coded[key]
                decoded.setdefault(receiver, {})[message.kind] = said
                self._remember(said, receiver, payloads)
                for payload in payloads:
                    self.transport.send(receiver, message.kind, payload)
        return decoded

    def listen(
        self, wait_for: Mapping[NodeId, Sequence[str]], number: int, deadline: float
    ) -> Generator[Waiting, None, dict[NodeId, dict[str, Message]]]:
        """Collect round `number`'s messages until all of `wait_for` are there or the deadline has passed."""
        wanted = [(sender, kind) for sender, kinds in wait_for.items() for kind in kinds]
        heard: dict[NodeId, dict[str, Message]] = {}
        pause = ASK_EVERY
        ask_at = self.now() + pause
        while True:
            self.read()
            for sender, kind in wanted:
                if kind not in heard.get(sender, {}) and (message := self.inbox.take(sender, kind)):
                    heard.setdefault(sender, {})[kind] = message
            missing = [(j, kind) for j, kind in wanted if kind not in heard.get(j, {})]
            if not missing or self.now() >= deadline or self._passed_by([j for j, _ in missing], number):
                return heard
            due = self.now() >= ask_at
            for sender, kind in missing:
                if self.inbox.baseless(sender, kind) or due:
                    self.transport.send(sender, AGAIN, self.inbox.again(sender, kind))
            if due:
                pause *= 2  # on a slow link the answer may be under way, and asking makes it slower
                ask_at = self.now() + pause
            yield Waiting(tuple(dict.fromkeys(j for j, _ in missing)), min(deadline, ask_at))

    def state(self) -> dict[str, Array]:
        """What can still be asked for, as arrays by name: a device that was killed owes it to its neighbours."""
        found = {}
        for (kind, number), by_receiver in self._said.items():
            receivers: dict[int, list[NodeId]] = {}  # one message to many is kept once
            for receiver, said in by_receiver.items():
                receivers.setdefault(id(said.message), []).append(receiver)
            for names in receivers.values():
                message = by_receiver[names[0]].message
                found[f"{kind}/{number}/{message.digest.hex()}/{','.join(names)}"] = message.values
        return found

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put back what `state` gave."""
        for name, array in sorted(values.items(), key=lambda item: int(item[0].split("/")[1])):
            kind, number, digest, names = name.split("/")
            message = Message(kind, int(number), bytes.fromhex(digest), array.astype(np.float32))
            for receiver in names.split(","):
                self._remember(message, receiver)

    def read(self) -> None:
        """Sort what has arrived, and answer requests."""
        for delivery in self.transport.receive():
            if delivery.kind == AGAIN:
                self._say_again(delivery)
            else:
                self.inbox.put(delivery)

    def _say_again(self, delivery: Delivery) -> None:
        """Repeat what a neighbour missed; at most once in half of ASK_EVERY, so that asking costs it little power."""
        try:
            wanted = requested(delivery.payload)
        except MessageError as reason:
            self.inbox.complain(delivery.sender, reason)
            return
        self.inbox.reached(delivery.sender, wanted.round)
        if wanted.round < self.inbox.round - REMEMBERED:  # whoever asks for that has been away: tell where we are
            self.transport.send(delivery.sender, AGAIN, request(wanted.kind, self.inbox.round, bytes(8)))
            return
        said = self._said.get((wanted.kind, wanted.round), {}).get(delivery.sender)
        if said and self.now() >= said.quiet_until:
            said.quiet_until = self.now() + ASK_EVERY / 2
            whole = encode(said.message, self._coding[wanted.kind])  # who asks may have nothing to add a change to
            begun = said.payloads or whole
            resumed = [begun[i] for i in wanted.missing] if wanted.count == len(begun) else []
            for payload in resumed or whole:
                self.transport.send(delivery.sender, wanted.kind, payload)

    def _passed_by(self, missing: Sequence[NodeId], number: int) -> bool:
        """Whether nobody we wait for will still say it: all are more than REMEMBERED rounds ahead."""
        return all(self.inbox.newest(j) > number + REMEMBERED for j in missing)

    def _bases(self, receiver: NodeId, kind: str) -> list[Message]:
        """What the next message of this kind to this receiver can be coded with, the newest first."""
        lately = sorted((number for k, number in self._said if k == kind), reverse=True)
        said = [self._said[kind, number][receiver].message for number in lately if receiver in self._said[kind, number]]
        return said[: bases_of(self._coding[kind])]

    def _remember(self, message: Message, receiver: NodeId, payloads: Sequence[bytes] = ()) -> None:
        kept = payloads if len(payloads) > 1 and bases_of(self._coding[message.kind]) else ()
        self._said.setdefault((message.kind, message.round), {})[receiver] = _Said(message, kept)
        for key in [k for k in self._said if k[1] <= message.round - REMEMBERED]:
            del self._said[key]
