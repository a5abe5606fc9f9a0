"""One device: train, send to the neighbours, collect what they sent, mix, repeat.

The loop is a generator. It yields a `Waiting` where it cannot go on without a neighbour, so that the
emulator can turn to another device and a board can sleep until something arrives, and a row of
metrics after each round, which checkpoints, telemetry, tables and tests consume. Its clock is the mailbox's:
`time.monotonic` on a board, virtual time in the emulator.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

from edge.interfaces import (
    DEVICE,
    Aggregation,
    Engine,
    Exchange,
    ExchangeResult,
    Floats,
    Message,
    Metrics,
    NodeId,
    PrivacyClass,
    Protocol,
    ProtocolContext,
    Traffic,
    Transport,
    everybody,
)
from edge.messaging.inbox import CAUSES, Inbox
from edge.messaging.mailbox import Mailbox, Waiting
from edge.privacy import Publish, as_it_is

Row = Metrics
MOST_RECEIVERS = 32
"""Neighbours for each of which telemetry has the bytes sent to it; a row of telemetry has to stay small."""
ALIVE_INTERVAL = 30.0
"""Seconds, at most, between two calls of `alive` while a node waits (systemd's watchdog)."""


def round_timeout(setup: ProtocolContext, seconds: float) -> float:
    """Seconds for which a node waits for silent neighbours: a centre a quarter of them, so that its devices are still
    collecting when it sends them the result."""
    return seconds if setup.role == DEVICE else seconds / 4


def telemetry(traffic: Traffic, refused: Mapping[str, int]) -> Row:
    """A device's traffic as keys of telemetry: bytes sent in all and by receiver, and messages refused by cause."""
    neighbours = sorted(traffic.sent_to.items())[:MOST_RECEIVERS]
    few = [*refused.items()][: len(CAUSES) + MOST_RECEIVERS]
    return {
        "payload_bytes_sent": float(traffic.payload_bytes_sent),
        **{f"sent_to/{neighbour}": float(size) for neighbour, size in neighbours},
        **{f"refused_{cause}": float(count) for cause, count in few if count},
        **{key: float(count) for key in ("dropped", "taken_over") if (count := getattr(traffic, key))},
    }


def next_round(number: int, last: int, inbox: Inbox) -> int:
    """The round after `number`: the next one, or that of most neighbours, if they are further; at most the last."""
    return max(number + 1, min(inbox.majority_round(), last))


def rounds(
    protocol: Protocol,
    engine: Engine,
    mailbox: Mailbox,
    *,
    first: int,
    last: int,
    round_timeout: float,
    aggregate: Aggregation = everybody,
    publish: Publish = as_it_is,
) -> Iterator[Waiting | Row]:
    """Run rounds `first` to `last` and yield one row of metrics after each.

    Args:
        protocol: the algorithm, as it left round `first` - 1.
        engine: the parameters, likewise.
        mailbox: with the protocol's inbox, and a transport that is connected; its clock is the loop's.
        first: number of the first round, from 1.
        last: number of the last round.
        round_timeout: seconds to wait for neighbours before mixing with whoever answered.
        aggregate: the aggregation rule (`edge.robust`).
        publish: what is done to what this device sends (`edge.privacy`).

    A device that was away and finds most of its neighbours more than a round ahead jumps to their round, which is that
    of the last message that they have sent it. Where they have sent it nothing, it learns from the answers to its
    requests that it need not wait, and plays the rounds in between alone.
    """
    now, inbox = mailbox.now, mailbox.inbox
    kinds = set() if aggregate is everybody else _distributions(protocol)
    number, skipped = first, 0
    while number <= last:
        started = now()
        inbox.open(number)
        talk = protocol.round(number, engine)
        timeouts = rejected = 0
        wait_seconds = 0.0
        mine: dict[str, Floats] = {}
        try:
            exchange = next(talk)
            while True:
                exchange = _published(exchange, publish)
                sent = mailbox.send(exchange)
                mine |= {m.kind: m.values for several in exchange.send.values() for m in several}
                begin = now()
                received = yield from mailbox.collect(exchange.wait_for, number, deadline=begin + round_timeout)
                wait_seconds += now() - begin
                timeouts += sum(received.get(j, {}).keys() != set(wanted) for j, wanted in exchange.wait_for.items())
                aggregated = _aggregated(received, mine, aggregate, kinds)
                rejected += sum(map(len, received.values())) - sum(map(len, aggregated.values()))
                exchange = talk.send(ExchangeResult(aggregated, sent))
        except StopIteration as done:
            metrics: Metrics = done.value
        if aggregate is not everybody:
            metrics["rejected_by_aggregator"] = metrics.get("rejected_by_aggregator", 0.0) + rejected
        times = {"seconds": now() - started, "wait_seconds": wait_seconds}
        unusual = {"skipped": skipped, "offline": len(mailbox.offline)}
        counts = {key: float(count) for key, count in unusual.items() if count}
        yield {"round": float(number), **metrics, "timeouts": float(timeouts), **counts, **times}
        following = next_round(number, last, inbox)
        skipped += following - number - 1
        number = following


def _published(exchange: Exchange, publish: Publish) -> Exchange:
    """Each message once, so that all its receivers get the same."""
    if publish is as_it_is:
        return exchange
    once = {id(m): publish(m) for several in exchange.send.values() for m in several}
    return replace(exchange, send={j: tuple(once[id(m)] for m in several) for j, several in exchange.send.items()})


def _distributions(protocol: Protocol) -> set[str]:
    """The kinds that an aggregation rule is for."""
    forms = (form for several in protocol.accepts().values() for form in several)
    return {form.kind for form in forms if form.privacy is PrivacyClass.DISTRIBUTION}


def _aggregated(
    received: Mapping[NodeId, Mapping[str, Message]],
    mine: Mapping[str, Floats],
    aggregate: Aggregation,
    kinds: Collection[str],
) -> dict[NodeId, dict[str, Message]]:
    """What is left of the kinds that are distributions, and all else that was received."""
    rest = {sender: dict(by_kind) for sender, by_kind in received.items()}
    for kind in kinds:
        tables = {sender: by_kind[kind].values for sender, by_kind in sorted(received.items()) if kind in by_kind}
        aggregated = aggregate(tables, mine.get(kind))
        for sender in tables:
            if sender in aggregated:
                rest[sender][kind] = replace(rest[sender][kind], values=aggregated[sender])
            else:
                del rest[sender][kind]
    return rest


def run(
    steps: Iterator[Waiting | Row],
    transport: Transport,
    now: Callable[[], float],
    alive: Callable[[], None] = lambda: None,
    interval: float = ALIVE_INTERVAL,
) -> Iterator[Row]:
    """Drive `rounds` on a device that has nothing else to do: sleep where it waits.

    alive: called at every step, and every `interval` seconds while it waits.
    """
    for step in steps:
        alive()
        if not isinstance(step, Waiting):
            yield step
            continue
        while not transport.wait(max(0.0, min(interval, step.until - now()))) and now() < step.until:
            alive()
