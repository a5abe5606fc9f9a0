"""Greetings: what a device knows of its neighbours' runs, and what it tells them of its own.

Only what answers this device's own session counts: a broker may deliver what a neighbour has sent a day ago.
"""

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.codec import RETRANSMIT, SESSION, Greeting, greeting
from edge.interfaces import NodeId, Transport
from edge.messaging.inbox import Inbox
from edge.messaging.retransmission import ANSWER_INTERVAL, REQUEST_INTERVAL
from edge.messaging.run_identity import RunIdentity, label

YOUNG = 3
"""Rounds in which a device still changes its run: two parts of a fleet that started at the same time without hearing
of each other become one then. Later the parameters are of that run, and people have to decide."""
_log = logging.getLogger(__name__)


@dataclass
class Greeter:
    """Args:
    transport: carries greetings.
    inbox: knows the neighbours, and the round that is open.
    identity: this device's; a change of its run is made here.
    now: the device's clock, in seconds.
    """

    transport: Transport
    inbox: Inbox
    identity: RunIdentity
    now: Callable[[], float]
    runs: dict[NodeId, int] = field(default_factory=dict)
    """the run of each neighbour that has answered in this life; 0 for one that is in none"""
    _sessions: dict[NodeId, bytes] = field(default_factory=dict)
    _quiet: dict[tuple[NodeId, bool], float] = field(default_factory=dict)
    _warned: set[tuple[NodeId, int]] = field(default_factory=set)

    def greet(self, neighbour: NodeId, *, asks: bool) -> None:
        """Tell a neighbour which run this device is in. asks: for an answer."""
        identity, answers = self.identity, self._sessions.get(neighbour, bytes(SESSION))
        words = Greeting(identity.run, self.inbox.round, identity.session, answers, asks)
        self.transport.send(neighbour, RETRANSMIT, greeting(words))

    def announce(self) -> None:
        """Tell all neighbours which run this device is in."""
        for neighbour, _ in self.inbox.neighbours():
            self.greet(neighbour, asks=False)

    def ask(self, neighbour: NodeId) -> None:
        """Ask a neighbour that has sent something of another run which one it is in, once in REQUEST_INTERVAL."""
        if self._may(neighbour, REQUEST_INTERVAL, asks=True):
            self.greet(neighbour, asks=True)

    def take(self, sender: NodeId, words: Greeting) -> None:
        """Take in a greeting, and answer it if it asks, once in ANSWER_INTERVAL."""
        if not self.inbox.knows(sender):
            self.inbox.counts["foreign"] += 1
            return
        self._sessions[sender] = words.session
        if words.answers == self.identity.session:
            self.runs[sender] = words.run
            self._compare(sender, words)
        if words.asks and self._may(sender, ANSWER_INTERVAL, asks=False):
            self.greet(sender, asks=self.identity.run == 0 and sender not in self.runs)

    def votes(self) -> Counter[int]:
        """By how many neighbours each run is named."""
        return Counter(run for run in self.runs.values() if run)

    def _compare(self, sender: NodeId, words: Greeting) -> None:
        """Change this device's run, or say that a neighbour is in another one."""
        mine, young = self.identity.run, self.inbox.round <= YOUNG
        if 0 in (mine, words.run) or mine == words.run:
            return
        both_young = young and words.round <= YOUNG
        most_say_so = 2 * self.votes()[words.run] > len(self.inbox.neighbours())
        if (both_young and words.run < mine) or (young and words.round > YOUNG and most_say_so):
            _log.warning("run %s instead of %s, as %s says", label(words.run), label(mine), sender)
            self.identity.run = words.run
            self.announce()
            return
        if both_young and not words.asks:
            self.greet(sender, asks=False)  # it is for the other to change
        elif (sender, words.run) not in self._warned and not both_young:
            self._warned.add((sender, words.run))
            _log.warning(
                "%s is in run %s, this device in run %s: neither uses what the other sends; restart the one that is "
                "to change with --fresh",
                sender,
                label(words.run),
                label(mine),
            )

    def _may(self, neighbour: NodeId, interval: float, *, asks: bool) -> bool:
        """Whether this was not done to this neighbour within the interval; then it counts as done."""
        now, key = self.now(), (neighbour, asks)
        if now < self._quiet.get(key, now):
            return False
        self._quiet[key] = now + interval
        return True
