"""One device: train, tell the neighbours, listen, mix, repeat.

The loop is a generator. It yields a `Waiting` where it cannot go on without a neighbour, so that the
emulator can turn to another device and a board can sleep until something arrives, and a row of
metrics after each round, which checkpoints, telemetry, tables and tests consume. Time comes in as
an argument: a board passes `time.monotonic`, the emulator its virtual clock.
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
from edge.messaging.mailbox import Post, Waiting
from edge.privacy import Publish, as_it_is

Row = Metrics
TOLD = 32
"""Neighbours of whom a device tells what it has sent them; a row of telemetry is to stay small."""
SIGN = 30.0
"""Seconds, at most, between two signs of life while a node waits."""


def patience(setup: ProtocolContext, seconds: float) -> float:
    """Seconds a node waits for the silent: a centre a quarter, so that its devices still hear what came of it."""
    return seconds if setup.role == DEVICE else seconds / 4


def telemetry(traffic: Traffic, refused: Mapping[str, int]) -> Row:
    """What a device tells of its correspondence beside a round's row: in all, by neighbour, and what it refused."""
    neighbours = sorted(traffic.sent_to.items())[:TOLD]
    return {
        "payload_bytes_sent": float(traffic.payload_bytes_sent),
        **{f"sent_to/{neighbour}": float(size) for neighbour, size in neighbours},
        **{f"refused_{cause}": float(count) for cause, count in refused.items() if count},
    }


def rounds(
    protocol: Protocol,
    engine: Engine,
    post: Post,
    *,
    first: int,
    last: int,
    patience: float,
    robust: Aggregation = everybody,
    publish: Publish = as_it_is,
) -> Iterator[Waiting | Row]:
    """Run rounds `first` to `last` and yield one row of metrics after each.

    Args:
        protocol: the algorithm, as it left round `first` - 1.
        engine: the parameters, likewise.
        post: with the protocol's inbox, and a transport that is connected; its clock is the loop's.
        first: number of the first round, from 1.
        last: number of the last round.
        patience: seconds to wait for neighbours before mixing with whoever answered.
        robust: what is believed of what neighbours say (`edge.robust`).
        publish: what is done to what this device says (`edge.privacy`).

    A device that was away and finds most of its neighbours more than a round ahead jumps to their round. It learns
    where they are from what they say or, where they have nothing to say to it, from their answer to its request.
    """
    now, inbox = post.now, post.inbox
    kinds = set() if robust is everybody else _distributions(protocol)
    number = first
    while number <= last:
        started = now()
        inbox.open(number)
        talk = protocol.round(number, engine)
        missed = doubted = 0
        waited = 0.0
        mine: dict[str, Floats] = {}
        try:
            exchange = next(talk)
            while True:
                exchange = _published(exchange, publish)
                sent = post.tell(exchange)
                mine |= {m.kind: m.values for several in exchange.send.values() for m in several}
                listening = now()
                heard = yield from post.listen(exchange.wait_for, number, deadline=listening + patience)
                waited += now() - listening
                missed += sum(heard.get(j, {}).keys() != set(kinds) for j, kinds in exchange.wait_for.items())
                believed = _believed(heard, mine, robust, kinds)
                doubted += sum(map(len, heard.values())) - sum(map(len, believed.values()))
                exchange = talk.send(ExchangeResult(believed, sent))
        except StopIteration as done:
            metrics: Metrics = done.value
        if robust is not everybody:
            metrics["doubted"] = metrics.get("doubted", 0.0) + doubted
        times = {"seconds": now() - started, "waited": waited}
        yield {"round": float(number), **metrics, "missed": float(missed), **times}
        number = max(number + 1, inbox.majority_round())


def _published(exchange: Exchange, publish: Publish) -> Exchange:
    """Each message once, so that all its receivers are told the same."""
    if publish is as_it_is:
        return exchange
    once = {id(m): publish(m) for several in exchange.send.values() for m in several}
    return replace(exchange, send={j: tuple(once[id(m)] for m in several) for j, several in exchange.send.items()})


def _distributions(protocol: Protocol) -> set[str]:
    """The kinds that a protocol's rule of belief is for."""
    forms = (form for several in protocol.accepts().values() for form in several)
    return {form.kind for form in forms if form.privacy is PrivacyClass.DISTRIBUTION}


def _believed(
    heard: Mapping[NodeId, Mapping[str, Message]],
    mine: Mapping[str, Floats],
    robust: Aggregation,
    kinds: Collection[str],
) -> dict[NodeId, dict[str, Message]]:
    """What is left of the kinds that are distributions, and all else that was heard."""
    found = {sender: dict(said) for sender, said in heard.items()}
    for kind in kinds:
        tables = {sender: said[kind].values for sender, said in sorted(heard.items()) if kind in said}
        believed = robust(tables, mine.get(kind))
        for sender in tables:
            if sender in believed:
                found[sender][kind] = replace(found[sender][kind], values=believed[sender])
            else:
                del found[sender][kind]
    return found


def run(
    steps: Iterator[Waiting | Row],
    transport: Transport,
    now: Callable[[], float],
    alive: Callable[[], None] = lambda: None,
) -> Iterator[Row]:
    """Drive `rounds` on a device that has nothing else to do: sleep where it waits.

    alive: called at every step, and every SIGN seconds while it waits.
    """
    for step in steps:
        alive()
        if not isinstance(step, Waiting):
            yield step
            continue
        while not transport.wait(max(0.0, min(SIGN, step.until - now()))) and now() < step.until:
            alive()
