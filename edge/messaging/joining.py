"""How a device that is in no run finds one, without a coordinator: see `edge.messaging.mailbox`."""

from collections.abc import Callable, Generator

from edge.interfaces import NodeId
from edge.messaging.collector import Waiting
from edge.messaging.greeter import Greeter
from edge.messaging.retransmission import REQUEST_INTERVAL
from edge.messaging.run_identity import drawn

STEPS = 8
"""Of all devices that hear nothing, each waits for an eighth of the patience longer than the one before it in the
fleet's order, up to eight of them: so the first that is there names the run, and the others hear of it."""


def patience(position: int, round_timeout: float) -> float:
    """Seconds after which a device names a run itself. position: in the fleet's order, from 0."""
    return round_timeout * (1 + min(position, STEPS) / STEPS)


def join(
    greeter: Greeter, read: Callable[[], None], now: Callable[[], float], *, position: int, round_timeout: float
) -> Generator[Waiting, None, None]:
    """See `edge.messaging.mailbox.Mailbox.join`."""
    identity, neighbours = greeter.identity, [name for name, _ in greeter.inbox.neighbours()]
    next_question = start = now()
    end = start + patience(position, round_timeout)
    voted = end
    while not identity.run:
        read()
        if greeter.votes():
            voted = min(voted, now() + REQUEST_INTERVAL)
        silent = [name for name in neighbours if name not in greeter.runs]
        identity.run = _run(greeter, silent, late=now() >= voted, first=position == 0, over=now() >= end)
        if identity.run:
            break
        if now() >= next_question:
            next_question = now() + REQUEST_INTERVAL
            for name in neighbours:  # one that was in no run when it answered may be in one by now
                if not greeter.runs.get(name):
                    greeter.greet(name, asks=True)
        yield Waiting(tuple(silent or neighbours), min(next_question, voted, end))
    greeter.announce()


def _run(greeter: Greeter, silent: list[NodeId], *, late: bool, first: bool, over: bool) -> int:
    """The run to join, or a new one; 0 while it is too early to say.

    late: whether those that are silent have had time to contradict. first: of the fleet. over: whether patience is.
    """
    votes = greeter.votes()
    if votes and (late or not silent):
        most = max(votes.values())
        return min(run for run, count in votes.items() if count == most)
    if not votes and (over or (first and not silent)):
        return drawn()
    return 0
