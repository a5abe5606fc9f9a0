"""One device: train, tell the neighbours, listen, mix, repeat.

The loop is a generator. It yields a `Waiting` where it cannot go on without a neighbour, so that the
emulator can turn to another device and a board can sleep until something arrives, and a row of
metrics after each round, which checkpoints, telemetry, tables and tests consume. Time comes in as
an argument: a board passes `time.monotonic`, the emulator its virtual clock.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass

from edge.codec import AGAIN, decode, encode, join, request, requested
from edge.errors import MessageError
from edge.inbox import Inbox
from edge.interfaces import Delivery, Engine, Exchange, Heard, Message, Metrics, NodeId, Protocol, Transport

ASK_EVERY = 2.0
"""Seconds of silence after which a device asks again."""
REMEMBERED = 2
"""Rounds whose messages can be asked for again: a neighbour is never further behind, or it jumps ahead."""


@dataclass(frozen=True)
class Waiting:
    """The loop cannot go on until one of `missing` has spoken, or the clock reads `until` (seconds)."""

    missing: tuple[NodeId, ...]
    until: float


Row = Metrics


def rounds(
    protocol: Protocol,
    engine: Engine,
    transport: Transport,
    inbox: Inbox,
    *,
    coding: Mapping[str, str],
    first: int,
    last: int,
    patience: float,
    now: Callable[[], float],
) -> Iterator[Waiting | Row]:
    """Run rounds `first` to `last` and yield one row of metrics after each.

    Args:
        protocol: the algorithm, as it left round `first` - 1.
        engine: the parameters, likewise.
        transport: connected.
        inbox: sorts what the transport delivers; knows who is listened to, and counts what it refuses.
        coding: kind of message -> how its body is coded (`edge.codec`).
        first: number of the first round, from 1.
        last: number of the last round.
        patience: seconds to wait for neighbours before mixing with whoever answered.
        now: the clock, in seconds.

    A device that was away and finds most of its neighbours more than a round ahead jumps to their round.
    """
    post = _Post(transport, inbox, coding, now)
    number = first
    while number <= last:
        started = now()
        talk = protocol.round(number, engine)
        missed = 0
        try:
            exchange = next(talk)
            while True:
                sent = post.tell(exchange)
                heard = yield from post.listen(exchange, deadline=now() + patience)
                missed += len(exchange.wait_for) - len(heard)
                exchange = talk.send(Heard(heard, sent))
        except StopIteration as done:
            metrics: Metrics = done.value
        yield {"round": float(number), **metrics, "missed": float(missed), "seconds": now() - started}
        number = max(number + 1, inbox.majority_round())


def run(steps: Iterator[Waiting | Row], transport: Transport, now: Callable[[], float]) -> Iterator[Row]:
    """Drive `rounds` on a device that has nothing else to do: sleep where it waits."""
    for step in steps:
        if isinstance(step, Waiting):
            transport.wait(max(0.0, step.until - now()))
        else:
            yield step


@dataclass
class _Said:
    """A message as it was sent, and the time before which it is not repeated."""

    payloads: list[bytes]
    quiet_until: float = 0.0


class _Post:
    """What this device says, has said lately, and is told."""

    def __init__(self, transport: Transport, inbox: Inbox, coding: Mapping[str, str], now: Callable[[], float]) -> None:
        self.transport = transport
        self.inbox = inbox
        self._coding = coding
        self._now = now
        self._said: dict[tuple[str, int], dict[NodeId, _Said]] = {}

    def tell(self, exchange: Exchange) -> dict[NodeId, Message]:
        """Send; returns, per receiver, the message as it will be decoded there."""
        decoded: dict[NodeId, Message] = {}
        coded: dict[int, tuple[list[bytes], Message]] = {}  # one message to many is coded once
        for receiver, message in exchange.send.items():
            if id(message) not in coded:
                payloads = encode(message, self._coding[message.kind])
                coded[id(message)] = payloads, join([decode(p) for p in payloads])
            payloads, decoded[receiver] = coded[id(message)]
            self._remember(message, receiver, payloads)
            for payload in payloads:
                self.transport.send(receiver, message.kind, payload)
        return decoded

    def listen(self, exchange: Exchange, deadline: float) -> Generator[Waiting, None, dict[NodeId, Message]]:
        """Collect the answers to `exchange` until all are there or the deadline has passed."""
        self.inbox.expect(exchange.expected)
        heard: dict[NodeId, Message] = {}
        ask_at = self._now() + ASK_EVERY
        while True:
            self._read()
            for sender in exchange.wait_for:
                if sender not in heard and (message := self.inbox.take(sender, exchange.expected.kind)):
                    heard[sender] = message
            missing = tuple(j for j in exchange.wait_for if j not in heard)
            if not missing or self._now() >= deadline or self._passed_by(missing, exchange):
                return heard
            if self._now() >= ask_at:
                for sender in missing:
                    self.transport.send(sender, AGAIN, request(exchange.expected))
                ask_at = self._now() + ASK_EVERY
            yield Waiting(missing, min(deadline, ask_at))

    def _read(self) -> None:
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
        said = self._said.get(wanted, {}).get(delivery.sender)
        if said and self._now() >= said.quiet_until:
            said.quiet_until = self._now() + ASK_EVERY / 2
            for payload in said.payloads:
                self.transport.send(delivery.sender, wanted[0], payload)

    def _passed_by(self, missing: tuple[NodeId, ...], exchange: Exchange) -> bool:
        """Whether nobody we wait for will still say it: all are more than REMEMBERED rounds ahead."""
        gone = exchange.expected.round + REMEMBERED
        return all(self.inbox.newest(j) > gone for j in missing)

    def _remember(self, message: Message, receiver: NodeId, payloads: list[bytes]) -> None:
        self._said.setdefault((message.kind, message.round), {})[receiver] = _Said(payloads)
        for key in [k for k in self._said if k[1] <= message.round - REMEMBERED]:
            del self._said[key]
