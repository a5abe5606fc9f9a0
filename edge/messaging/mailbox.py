"""What a device says, has said lately, and is told: between the loop's exchanges and the transport's bytes."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.codec import AGAIN, bases_of, decode, encode, join, request, requested
from edge.errors import MessageError
from edge.interfaces import Array, Delivery, Exchange, Message, NodeId, Transport
from edge.messaging.inbox import Inbox

ASK_EVERY = 2.0
"""Seconds of silence after which a device asks again; then after twice as many, and so on,"""
ASK_AT_MOST = 4.0
"""but for messages of one payload no more than these: where much is lost, requests and answers are too."""
LINGER = 16.0
"""Seconds of silence after which a device that has done its last round no longer stays to answer."""
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
        self._asked = -math.inf
        """when somebody last asked for what was said here"""
        self._ahead: set[NodeId] = set()
        """who has just asked for a later round: what they say of this one they have said, and it was lost"""
        self._bases: dict[tuple[NodeId, str], list[Message]] = {}
        """what the next message to a receiver can be coded with, the newest first"""

    def tell(self, exchange: Exchange) -> dict[NodeId, dict[str, Message]]:
        """Send; returns, per receiver and kind, the message as it will be decoded there."""
        decoded: dict[NodeId, dict[str, Message]] = {}
        coded: dict[tuple[int, ...], tuple[list[bytes], Message]] = {}  # one message to many is coded once
        for receiver, messages in exchange.send.items():
            for message in messages:
                bases = self._bases.get((receiver, message.kind), [])
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
                if self.inbox.baseless(sender, kind) or due or sender in self._ahead:
                    self.transport.send(sender, AGAIN, self.inbox.again(sender, kind))
            self._ahead.clear()
            if due:
                large = any(self.inbox.large(sender, kind) for sender, kind in missing)
                pause = 2 * pause if large else min(2 * pause, ASK_AT_MOST)  # on a slow link asking makes it slower
                ask_at = self.now() + pause
            yield Waiting(tuple(dict.fromkeys(j for j, _ in missing)), min(deadline, ask_at))

    def farewell(self, last: int, patience: float) -> Generator[Waiting, None, None]:
        """After round `last`: tell everybody that it is over here, and answer until it is over for them too.

        Else whoever missed our last message would ask in vain. Who is told asks at once, and LINGER starts anew when
        somebody asks: where 30 % of all is lost, of 10,000 last messages that were 12 are missed for good, and were 645
        without the two. Ends after `patience` at the latest, as somebody may have gone whose goodbye was lost; those
        that were never heard are not waited for.
        """
        began = self.now()
        deadline = began + min(LINGER, patience)
        told = self.inbox.neighbours()
        while True:
            for neighbour, kind in told:
                self.transport.send(neighbour, AGAIN, request(kind, last + 1, bytes(8)))
            again = min(deadline, self.now() + ASK_EVERY)
            while self.now() < again:
                self.read()
                deadline = max(deadline, min(self._asked + LINGER, began + patience))
                # Who is done may be gone, and what it is told now would wait for its next life.
                told = [(j, kind) for j, kind in told if 0 < self.inbox.newest(j) <= last]
                if not told:
                    return
                yield Waiting(tuple(j for j, _ in told), again)
            if again >= deadline:
                return

    def state(self) -> dict[str, Array]:
        """What can still be asked for, as arrays by name: a device that was killed owes it to its neighbours."""
        found = {}
        receivers: dict[int, dict[NodeId, Message]] = {}  # one message to many is kept once
        for by_receiver in self._said.values():
            for receiver, said in by_receiver.items():
                receivers.setdefault(id(said.message), {})[receiver] = said.message
        for (receiver, _), bases in self._bases.items():
            for message in bases:
                receivers.setdefault(id(message), {})[receiver] = message
        for several in receivers.values():
            message = next(iter(several.values()))
            found[f"{message.kind}/{message.round}/{message.digest.hex()}/{','.join(sorted(several))}"] = message.values
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
        if self.inbox.round < wanted.round <= self.inbox.round + REMEMBERED:
            self._ahead.add(delivery.sender)
        if wanted.round < self.inbox.round - REMEMBERED:  # whoever asks for that has been away: tell where we are
            self.transport.send(delivery.sender, AGAIN, request(wanted.kind, self.inbox.round, bytes(8)))
            return
        said = self._said.get((wanted.kind, wanted.round), {}).get(delivery.sender)
        if said is None:
            return
        self._asked = self.now()
        if self._asked < said.quiet_until:
            return
        said.quiet_until = self._asked + ASK_EVERY / 2
        begun = said.payloads or self._whole(said)
        if wanted.missing and wanted.count == len(begun):
            payloads: Sequence[bytes] = [begun[i] for i in wanted.missing]
        else:
            payloads = self._whole(said) if said.payloads else begun
        for payload in payloads:
            self.transport.send(delivery.sender, wanted.kind, payload)

    def _whole(self, said: _Said) -> list[bytes]:
        """As who asks can take it, who may have nothing to add a change to."""
        return encode(said.message, self._coding[said.message.kind])

    def _passed_by(self, missing: Sequence[NodeId], number: int) -> bool:
        """Whether nobody we wait for will still say it: all are more than REMEMBERED rounds ahead."""
        return all(self.inbox.newest(j) > number + REMEMBERED for j in missing)

    def _remember(self, message: Message, receiver: NodeId, payloads: Sequence[bytes] = ()) -> None:
        if kept := bases_of(self._coding[message.kind]):
            bases = self._bases.setdefault((receiver, message.kind), [])
            bases[:] = [message, *bases][:kept]
        self._said.setdefault((message.kind, message.round), {})[receiver] = _Said(
            message, payloads if kept and len(payloads) > 1 else ()
        )
        for key in [k for k in self._said if k[1] <= message.round - REMEMBERED]:
            del self._said[key]
