"""A fleet in virtual time: the next thing that happens, then the one after it.

Time passes where links are long or narrow, where a board computes, and where everybody waits. At one moment, what ends
comes before what begins, messages before turns, and nobody begins a round before all that can finish theirs then have
done so: where nothing takes time, the fleet goes in step. Two things at once are ordered by who they are about, never
by which was known first, so that neither threads nor shards change a result.
"""

import heapq
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from edge.codec import RETRANSMIT
from edge.errors import ConfigError
from edge.interfaces import Delivery, NodeId
from edge.messaging.mailbox import Waiting
from edge.node import Row
from edge_sim.conditions import absences
from edge_sim.links import Links
from edge_sim.scenario import Scenario
from edge_sim.shard import Exam, Order, Outcome, Sent

STALLED = 100
"""Times the `round_timeout` of a device without anybody finishing a round: it will not become better."""
BACK, ABSENCE, LEAVES, AT_BROKER, ARRIVES, FINISHED, TURN, EXAM, ROUND = range(9)
"""what happens, in the order of one moment"""
APART = (LEAVES, AT_BROKER, ARRIVES, FINISHED, TURN, ROUND)
"""what concerns one node alone, for as long as the shortest link"""


class Workers(Protocol):
    """Who has the nodes: `edge_sim.shard.Shard`, or several of them."""

    def turns(self, orders: Sequence[Order]) -> list[Outcome]:
        """See `Shard.turns`."""

    def exams(self, indices: Sequence[int]) -> list[Exam]:
        """See `Shard.exams`."""

    def revive(self, index: int, finished: bool) -> None:
        """See `Shard.revive`."""

    def leave(self, arrived: Mapping[int, Sequence[Delivery]]) -> None:
        """See `Shard.leave`."""


@dataclass(frozen=True)
class Finished:
    """A node has finished a round."""

    index: int
    row: Row


@dataclass(frozen=True)
class Closed:
    """Everybody who is there has finished round `number`, `at` so many virtual seconds; what all had sent by then."""

    number: int
    at: float
    payload_bytes: int


Happening = Finished | Exam | Closed


@dataclass
class _Node:
    """What is known of a node."""

    waiting: Waiting | None = None
    due: float = inf
    """when its next turn is, if one is set"""
    mail: list[Delivery] = field(default_factory=list)
    said: int = 0
    level: int = 0
    """the round it finished last"""
    between: bool = True
    """rounds: it has finished one, and not begun the next"""
    away_since: float = 0.0
    away_until: float = 0.0
    asleep: bool = False
    started: bool = False
    lives: int = 0
    """times it was killed: what was about to happen in one life does not in the next"""
    done: bool = False
    """it has done its last round, or is gone for good"""


@dataclass
class Emulation:
    """One run.

    names: of all nodes, the centre last. ahead: turns at different moments that cannot concern one another yet may be
    handed out together.
    """

    scenario: Scenario
    names: Sequence[NodeId]
    links: Links
    workers: Workers
    ahead: bool = False
    now: float = 0.0

    def __post_init__(self) -> None:
        self._number = {name: i for i, name in enumerate(self.names)}
        self._nodes = [_Node() for _ in self.names]
        self._heap: list[tuple[float, int, tuple[int, ...], Any]] = []
        self._levels = Counter({0: len(self.names)})
        """of those who are there, by the round they finished last"""
        self._left = len(self.names)
        """how many have neither done their last round nor gone for good"""
        self._closed = 0
        self._progress = 0.0
        self._closing: deque[tuple[int, float]] = deque()
        """rounds that are over, and since when; told when nothing earlier can happen any more"""
        self._sent: list[tuple[float, int]] = []
        self._payload_bytes = 0
        self._unexamined = 0
        self._absences = absences(self.scenario.absences, self.scenario.devices, self.scenario.seed)

    def play(self) -> Iterator[Happening]:
        """Everything, until all nodes have done their last round or are gone for good."""
        for i in range(len(self.names)):
            self._push(0.0, ROUND, (i,), 0)
        self._next_absence()
        while self._heap and self._left:
            yield from self._close(self._heap[0][:2])
            yield from self._next()
        self._over(self.now, max(node.level for node in self._nodes))
        yield from self._close((inf, 0))
        self.workers.leave({i: node.mail for i, node in enumerate(self._nodes) if node.started})

    def _push(self, at: float, kind: int, key: tuple[int, ...], what: Any) -> None:
        heapq.heappush(self._heap, (at, kind, key, what))

    def _over(self, at: float, lowest: int) -> None:
        """Nobody is in a round up to this one any more."""
        while self._closed < lowest:
            self._closed += 1
            self._closing.append((self._closed, at))

    def _close(self, upcoming: tuple[float, int]) -> Iterator[Closed]:
        """What can be told, as what comes next is not before it."""
        while self._closing and not self._unexamined and (self._closing[0][1], EXAM) < upcoming:
            number, at = self._closing.popleft()
            while self._sent and self._sent[0][0] <= at:
                self._payload_bytes += heapq.heappop(self._sent)[1]
            yield Closed(number, at, self._payload_bytes)

    def _next(self) -> Iterator[Happening]:
        at, kind, key, what = heapq.heappop(self._heap)
        self.now = at
        if at > self._progress + STALLED * self.scenario.round_timeout:
            raise ConfigError(
                f"nobody has finished a round from {self._progress:.0f} to {at:.0f} virtual seconds, round "
                f"{self._closed + 1}; let devices be away less often, or give links and boards less to do"
            )
        if kind in (TURN, ROUND):
            yield from self._turns(at, kind, key[0], what)
        elif kind == EXAM:
            due = [key[0]]
            while self._heap and self._heap[0][:2] == (at, EXAM):
                due.append(heapq.heappop(self._heap)[2][0])
            yield from self.workers.exams(due)
            self._unexamined -= len(due)
        else:
            yield from self._happen(at, kind, key, what)

    def _turns(self, at: float, kind: int, index: int, lives: int) -> Iterator[Happening]:
        """The turn that is due, and all that can be had with it."""
        orders = self._order(at, kind, index, lives)
        chosen = {order.index for order in orders}
        horizon = at + (self.links.shortest if self.ahead else 0.0)
        while self._heap:
            then, also, about, what = self._heap[0]
            together = also == kind if then == at else then < horizon and also in APART
            if not together or about[0] in chosen or self._closing:
                break
            heapq.heappop(self._heap)
            if also in (TURN, ROUND):
                orders += self._order(then, also, about[0], what)
                chosen.add(about[0])
            else:
                yield from self._happen(then, also, about, what)
        for outcome in self.workers.turns(orders) if orders else []:
            i, node = outcome.index, self._nodes[outcome.index]
            for sent in outcome.sent:
                node.said += 1
                self._push(sent.at, LEAVES, (i, node.said), (node.lives, sent))
            self._push(outcome.until, FINISHED, (i,), (node.lives, outcome.step))

    def _order(self, at: float, kind: int, i: int, lives: int) -> list[Order]:
        """The turn of node i; none if it was of a life that is over, or was had earlier, or has to wait."""
        node = self._nodes[i]
        if node.done or lives != node.lives or (kind == TURN and node.due != at):
            return []
        if node.away_until > at:
            self._push(node.away_until, kind, (i,), lives)
            node.due = node.away_until if kind == TURN else inf
            return []
        arrived, node.mail = node.mail, []
        node.due, node.waiting, node.between, node.started = inf, None, False, True
        return [Order(i, at, arrived, keep=kind == ROUND)]

    def _happen(self, at: float, kind: int, key: tuple[int, ...], what: Any) -> Iterator[Happening]:
        """Everything but turns and exams."""
        if kind == ABSENCE:
            until, chosen, asleep = what
            for i in chosen:
                self._away(at, until, i, asleep)
            self._next_absence()
            return
        i = key[0]
        node = self._nodes[i]
        if kind == BACK:
            self._back(at, i, node)
        elif kind == LEAVES:
            lives, sent = what
            if lives == node.lives:
                self._leave(self._resumed(at, node), i, key[1], sent)
        elif kind == AT_BROKER:
            self._push(self.links.down(at, self.names[i], what.size), ARRIVES, key, what.delivery)
        elif kind == ARRIVES:
            self._arrive(at, i, node, what)
        elif what[0] == node.lives:
            if (later := self._resumed(at, node)) > at:
                self._push(later, FINISHED, key, what)
            else:
                yield from self._finished(at, i, node, what[1])

    def _resumed(self, at: float, node: _Node) -> float:
        """When something happens to a node that would have at `at`, had it not fallen asleep."""
        return node.away_until + at - node.away_since if node.away_until > at else at

    def _leave(self, at: float, i: int, count: int, sent: Sent) -> None:
        receiver = self._number[sent.receiver]
        heapq.heappush(self._sent, (at, len(sent.delivery.payload)))
        for copy, there in enumerate(self.links.up(at, self.names[i], sent.receiver, sent.size)):
            self._push(there, AT_BROKER, (receiver, i, count, copy), sent)

    def _arrive(self, at: float, i: int, node: _Node, delivery: Delivery) -> None:
        """It waits for the node's next turn, or is what the node has waited for."""
        if node.done or (node.away_until > at and not node.started):
            return  # it has left, or the broker does not know it yet
        node.mail.append(delivery)
        wanted = node.waiting and (delivery.kind == RETRANSMIT or delivery.sender in node.waiting.missing)
        if wanted and node.away_until <= at:
            self._wake(at, i, node)

    def _wake(self, at: float, i: int, node: _Node) -> None:
        if at < node.due:
            node.due = at
            self._push(at, TURN, (i,), node.lives)

    def _finished(self, at: float, i: int, node: _Node, step: Waiting | Row | None) -> Iterator[Happening]:
        if step is None:
            self._gone(at, node)
        elif isinstance(step, Waiting):
            node.waiting = step
            self._wake(at if node.mail else max(at, step.until), i, node)
        else:
            number = int(step["round"])
            self._there(node, -1)
            node.level, node.between = number, True
            self._there(node, 1)
            self._over(at, min(self._levels))
            self._progress = at
            yield Finished(i, step)
            if i < self.scenario.devices and self.scenario.evaluated(number):
                self._unexamined += 1
                self._push(at, EXAM, (i,), None)
            self._push(at, ROUND, (i,), node.lives)

    def _there(self, node: _Node, change: int) -> None:
        """Count a node among those who are there, or no longer."""
        self._levels[node.level] += change
        if not self._levels[node.level]:
            del self._levels[node.level]

    def _gone(self, at: float, node: _Node) -> None:
        node.done = True
        self._left -= 1
        self._there(node, -1)
        self._over(at, min(self._levels, default=0))

    def _next_absence(self) -> None:
        for at, until, chosen, asleep in self._absences:
            self._push(at, ABSENCE, (0,), (until, chosen, asleep))
            return

    def _away(self, at: float, until: float, i: int, asleep: bool) -> None:
        node = self._nodes[i]
        if node.done:
            return
        present = node.away_until <= at
        if not asleep and (present or node.asleep):
            node.lives += 1
            node.waiting, node.due = None, inf
            node.mail.clear()
        if until == inf:
            if not present:
                self._there(node, 1)
            node.away_until = at
            self._gone(at, node)
            return
        if present:
            self._there(node, -1)
            self._over(at, min(self._levels, default=0))
            node.away_since, node.asleep = at, asleep
        node.asleep = node.asleep and asleep
        node.away_until = max(node.away_until, until)
        self._push(node.away_until, BACK, (i,), None)

    def _back(self, at: float, i: int, node: _Node) -> None:
        if node.away_until != at or node.done:
            return  # it has been sent away for longer
        self._there(node, 1)
        if node.asleep:
            if node.waiting and node.mail:
                self._wake(at, i, node)
            return
        if node.started:
            self.workers.revive(i, node.between)
        node.between = True
        self._push(at, ROUND, (i,), node.lives)
