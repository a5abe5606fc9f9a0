"""One device: train, tell the neighbours, listen, mix, repeat.

The loop is a generator. It yields a `Waiting` where it cannot go on without a neighbour, so that the
emulator can turn to another device and a board can sleep until something arrives, and a row of
metrics after each round, which checkpoints, telemetry, tables and tests consume. Time comes in as
an argument: a board passes `time.monotonic`, the emulator its virtual clock.
"""

from collections.abc import Callable, Iterator

from edge.interfaces import DEVICE, Engine, Heard, Metrics, Protocol, Setup, Transport
from edge.post import Post, Waiting

Row = Metrics


def patience(setup: Setup, seconds: float) -> float:
    """Seconds a node waits for the silent: a centre a quarter, so that its devices still hear what came of it."""
    return seconds if setup.role == DEVICE else seconds / 4


def rounds(
    protocol: Protocol,
    engine: Engine,
    post: Post,
    *,
    first: int,
    last: int,
    patience: float,
) -> Iterator[Waiting | Row]:
    """Run rounds `first` to `last` and yield one row of metrics after each.

    Args:
        protocol: the algorithm, as it left round `first` - 1.
        engine: the parameters, likewise.
        post: with the protocol's inbox, and a transport that is connected; its clock is the loop's.
        first: number of the first round, from 1.
        last: number of the last round.
        patience: seconds to wait for neighbours before mixing with whoever answered.

    A device that was away and finds most of its neighbours more than a round ahead jumps to their round. It learns
    where they are from what they say or, where they have nothing to say to it, from their answer to its request.
    """
    now, inbox = post.now, post.inbox
    number = first
    while number <= last:
        started = now()
        inbox.open(number)
        talk = protocol.round(number, engine)
        missed = 0
        try:
            exchange = next(talk)
            while True:
                sent = post.tell(exchange)
                heard = yield from post.listen(exchange.wait_for, number, deadline=now() + patience)
                missed += sum(heard.get(j, {}).keys() != set(kinds) for j, kinds in exchange.wait_for.items())
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
