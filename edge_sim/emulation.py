"""A fleet in virtual time: the emulator that `edge-sim` runs.

Theory of operation

A node's loop (`edge.node.rounds`) is a generator. A *turn* resumes it until it has to wait for neighbours or has
finished a round; what comes of a turn depends on nothing but the node's past, the moment, and what has arrived for the
node since its last turn. `Workers` have the nodes and take the turns; this module decides when, and what arrives
meanwhile. It keeps a queue of events (`edge_sim.event_queue`) and the state of each node (`edge_sim.states`). It takes
the first event, lets it change the state of the node that it is about, and queues what follows:

    Begin, Turn      the node has a turn. Each message it sent becomes a Departure at the moment that the node's clock
                     read; Computed follows when its board has computed for as long as it takes.
    Computed         the loop waits (a Turn follows at its deadline, or at once if something has arrived), or has
                     finished a round (EvaluationDue follows, then Begin), or has ended.
    Departure        AtBroker follows when the message is up at the broker: once, twice, or never (`edge_sim.links`).
    AtBroker         Arrival follows when it has come down.
    Arrival          the message is kept for the node's next turn; if the node waits for it, a Turn follows at once.
    AbsenceBegins    devices sleep, crash, or leave; Return follows when they are back.
    Return           a device that slept goes on; one that crashed restarts from its checkpoint, and Begin follows.

**The order of one moment** is that of `event_queue.Kind`: what ends, messages, turns, evaluations, and last what
begins. A fleet in which nothing takes time therefore goes round by round, as it does over a broker.

**Determinism.** No decision depends on which event was queued first. Events of one moment and kind are ordered by the
node that they are about, and its messages by their count; every link draws from a generator of its own. Turns that
threads take at the same time are of different nodes, and their results are queued in the order of the requests.

**Look-ahead.** Turns of different moments may be taken together as long as none can concern another: what a node sends
reaches nobody before the shortest link has passed. Events in between are applied if they are local to other nodes
(`event_queue.LOCAL`); an absence, an evaluation, or a round that is over is never passed. This is conservative
synchronisation (Chandy and Misra, 1979) with the shortest link as look-ahead.

**Lives.** A crash ends a life of the node. An event carries the life in which it was queued, and is ignored in another.
What a sleeping node was about to do is put off by the length of its sleep.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Protocol

from edge.codec import RETRANSMIT
from edge.errors import ConfigError
from edge.interfaces import Delivery, NodeId
from edge.messaging.mailbox import Waiting
from edge.node import Row
from edge_sim.closing import OpenRounds, RoundClosed
from edge_sim.conditions import absences
from edge_sim.evaluation import Evaluation
from edge_sim.event_queue import (
    LOCAL,
    AbsenceBegins,
    Arrival,
    AtBroker,
    Begin,
    Computed,
    Departure,
    Entry,
    EvaluationDue,
    EventQueue,
    Kind,
    Return,
    Scheduled,
    Turn,
)
from edge_sim.links import Links
from edge_sim.node_record import NodeRecord
from edge_sim.scenario import Scenario
from edge_sim.states import ASLEEP, PRESENT, NodeEvent, NodeState
from edge_sim.turns import OutgoingMessage, TurnRequest, TurnResult

STALLED = 100
"""Times the `round_timeout` of a device without anybody finishing a round: it will not become better."""
RUNNING = PRESENT | ASLEEP


class Workers(Protocol):
    """Who has the nodes and computes: `edge_sim.shard.Shard`, or several of them."""

    def turns(self, requests: Sequence[TurnRequest]) -> list[TurnResult]:
        """See `Shard.turns`."""

    def evaluate(self, indices: Sequence[int]) -> list[Evaluation]:
        """See `Shard.evaluate`."""

    def revive(self, index: int, finished: bool) -> None:
        """See `Shard.revive`."""

    def conclude(self, unread: Mapping[int, Sequence[Delivery]]) -> None:
        """See `Shard.conclude`."""


@dataclass(frozen=True)
class NodeFinished:
    """A node has finished a round."""

    index: int
    row: Row


Occurrence = NodeFinished | Evaluation | RoundClosed
"""What a run reports as it goes on"""


@dataclass
class Emulation:
    """One run; see the module.

    Args:
        scenario: what is emulated.
        names: of all nodes, the centre last.
        links: between them.
        workers: who has the nodes.
        ahead: whether turns of different moments that cannot concern one another may be handed out together.
    """

    scenario: Scenario
    names: Sequence[NodeId]
    links: Links
    workers: Workers
    ahead: bool = False
    now: float = 0.0
    """virtual seconds since the start"""

    def __post_init__(self) -> None:
        self._number = {name: i for i, name in enumerate(self.names)}
        self._nodes = [NodeRecord() for _ in self.names]
        self._queue = EventQueue()
        self._rounds = OpenRounds(len(self.names))
        self._running = len(self.names)
        """how many have neither ended nor left"""
        self._lookahead = self.links.shortest if self.ahead else 0.0
        self._progress = 0.0
        """when somebody finished a round last"""
        self._absences = absences(self.scenario.absences, self.scenario.devices, self.scenario.seed)

    def run(self) -> Iterator[Occurrence]:
        """Run until every node has finished its last round or has left for good.

        Yields:
            What happens, in the order of virtual time; nodes change only when the next item is asked for.

        Raises:
            ConfigError: nobody has finished a round for `STALLED` times the scenario's `round_timeout`.
        """
        for i in range(len(self.names)):
            self._queue.push(0.0, Begin((i,), life=0))
        self._queue_absence()
        while (upcoming := self._queue.first) and self._running:
            yield from self._rounds.report(upcoming)
            yield from self._next()
        self._rounds.close_up_to(max(node.finished for node in self._nodes), self.now)
        yield from self._rounds.report(None)
        self.workers.conclude({i: node.mail for i, node in enumerate(self._nodes)})

    def _next(self) -> Iterator[Occurrence]:
        """Take the first event, and all that can be had with it."""
        entry = self._queue.pop()
        self.now = entry.at
        if entry.at > self._progress + STALLED * self.scenario.round_timeout:
            raise ConfigError(
                f"nobody has finished a round from {self._progress:.0f} to {entry.at:.0f} virtual seconds, round "
                f"{self._rounds.closed + 1}; let devices be away less often, or give links and boards less to do"
            )
        if entry.kind in (Kind.TURN, Kind.BEGIN):
            yield from self._turns(entry)
        elif entry.kind is Kind.EVALUATION:
            yield from self._evaluate(entry)
        else:
            yield from self._apply(entry.at, entry.event)

    def _turns(self, first: Entry) -> Iterator[NodeFinished]:
        """The turn that is due, and all that can be had with it."""
        requests = self._request(first)
        chosen = {first.event.index}
        horizon = first.at + self._lookahead
        while (then := self._queue.first) and not self._rounds.waits and then.event.index not in chosen:
            if not (then.kind == first.kind if then.at == first.at else then.at < horizon and then.kind in LOCAL):
                break
            self._queue.pop()
            if then.kind in (Kind.TURN, Kind.BEGIN):
                requests += self._request(then)
                chosen.add(then.event.index)
            else:
                yield from self._apply(then.at, then.event)
        for result in self.workers.turns(requests) if requests else []:
            node = self._nodes[result.index]
            for message in result.sent:
                node.messages += 1
                self._queue.push(message.at, Departure((result.index, node.messages), node.life, message))
            self._queue.push(result.until, Computed((result.index,), node.life, result.step))

    def _request(self, entry: Entry) -> list[TurnRequest]:
        """The turn that an entry is about; none if it is no longer due, or has to wait for the node to wake up."""
        at, event, node = entry.at, entry.event, self._nodes[entry.event.index]
        assert isinstance(event, Turn | Begin)
        if node.state is NodeState.DONE or event.life != node.life or (entry.kind is Kind.TURN and node.turn_at != at):
            return []
        if node.state in ASLEEP:
            self._queue.push(node.away_until, event)
            node.turn_at = node.away_until if entry.kind is Kind.TURN else inf
            return []
        node.change(NodeEvent.BEGIN if entry.kind is Kind.BEGIN else NodeEvent.RESUME)
        arrived, node.mail = node.mail, []
        node.turn_at, node.waiting = inf, None
        return [TurnRequest(event.index, at, arrived, keep=entry.kind is Kind.BEGIN)]

    def _evaluate(self, first: Entry) -> Iterator[Evaluation]:
        """All evaluations of one moment."""
        due = [first.event.index]
        while (then := self._queue.first) and (then.at, then.kind) == (first.at, Kind.EVALUATION):
            due.append(self._queue.pop().event.index)
        yield from self.workers.evaluate(due)
        self._rounds.await_evaluations(-len(due))

    def _apply(self, at: float, event: Scheduled) -> Iterator[NodeFinished]:
        """Everything but turns and evaluations."""
        match event:
            case AtBroker():
                down = self.links.down(at, self.names[event.index], event.message.size)
                self._queue.push(down, Arrival(event.about, event.message.delivery))
            case Arrival():
                self._arrive(at, event.index, event.delivery)
            case Departure():
                node = self._nodes[event.index]
                if event.life == node.life:
                    self._depart(node.resumed(at), event.about, event.message)
            case Computed():
                yield from self._computed(at, event)
            case AbsenceBegins():
                for i in event.devices:
                    self._begin_absence(at, event.until, i, event.asleep)
                self._queue_absence()
            case Return():
                self._return(at, event.index)

    def _depart(self, at: float, about: tuple[int, ...], message: OutgoingMessage) -> None:
        sender, receiver = about[0], self._number[message.receiver]
        self._rounds.sent(at, len(message.delivery.payload))
        for copy, up in enumerate(self.links.up(at, self.names[sender], message.receiver, message.size)):
            self._queue.push(up, AtBroker((receiver, *about, copy), message))

    def _arrive(self, at: float, i: int, delivery: Delivery) -> None:
        """Keep a message for the node's next turn, which is now if the node waits for it."""
        node = self._nodes[i]
        if node.state in (NodeState.DONE, NodeState.ABSENT):
            return  # it has left, or the broker does not know it yet
        node.mail.append(delivery)
        awaited = node.waiting and (delivery.kind == RETRANSMIT or delivery.sender in node.waiting.missing)
        if awaited and node.state is NodeState.WAITING:
            self._queue_turn(at, i)

    def _queue_turn(self, at: float, i: int) -> None:
        """Let node i have its turn then, if it has none before."""
        node = self._nodes[i]
        if at < node.turn_at:
            node.turn_at = at
            self._queue.push(at, Turn((i,), node.life))

    def _computed(self, at: float, event: Computed) -> Iterator[NodeFinished]:
        """A turn has come to its end, unless that life is over or the node has fallen asleep over it."""
        i, step = event.index, event.step
        node = self._nodes[i]
        if event.life != node.life:
            return
        if (later := node.resumed(at)) > at:
            self._queue.push(later, event)
        elif step is None:
            node.change(NodeEvent.END)
            self._running -= 1
            self._rounds.remove(node.finished)
            self._rounds.close(at)
        elif isinstance(step, Waiting):
            node.change(NodeEvent.PAUSE)
            node.waiting = step
            self._queue_turn(at if node.mail else max(at, step.until), i)
        else:
            yield self._finish(at, i, step)

    def _finish(self, at: float, i: int, row: Row) -> NodeFinished:
        node, number = self._nodes[i], int(row["round"])
        node.change(NodeEvent.FINISH)
        self._rounds.remove(node.finished)
        node.finished = number
        self._rounds.add(number)
        self._rounds.close(at)
        self._progress = at
        if i < self.scenario.devices and self.scenario.evaluated(number):
            self._rounds.await_evaluations(1)
            self._queue.push(at, EvaluationDue((i,)))
        self._queue.push(at, Begin((i,), node.life))
        return NodeFinished(i, row)

    def _queue_absence(self) -> None:
        """The next one; there is one in the queue at a time, as there may be no end of them."""
        for at, until, devices, asleep in self._absences:
            self._queue.push(at, AbsenceBegins((0,), until, devices, asleep))
            return

    def _begin_absence(self, at: float, until: float, i: int, asleep: bool) -> None:
        node = self._nodes[i]
        before = node.state
        if before is NodeState.DONE:
            return
        node.change(NodeEvent.LEAVE if until == inf else NodeEvent.SLEEP if asleep else NodeEvent.CRASH)
        if before in RUNNING and node.state not in ASLEEP:
            node.forget()
        if before in PRESENT:
            node.away_since = at
            self._rounds.remove(node.finished)
            self._rounds.close(at)
        if node.state is NodeState.DONE:
            self._running -= 1
        else:
            node.away_until = max(node.away_until, until)
            self._queue.push(node.away_until, Return((i,)))

    def _return(self, at: float, i: int) -> None:
        node = self._nodes[i]
        before = node.state
        if before in PRESENT or before is NodeState.DONE or node.away_until != at:
            return  # it has been sent away for longer, or by two absences that end together
        node.change(NodeEvent.RETURN)
        self._rounds.add(node.finished)
        if before in ASLEEP:
            if node.state is NodeState.WAITING and node.mail:
                self._queue_turn(at, i)
            return
        if before is not NodeState.ABSENT:
            self.workers.revive(i, finished=before is NodeState.CRASHED_READY)
        self._queue.push(at, Begin((i,), node.life))
