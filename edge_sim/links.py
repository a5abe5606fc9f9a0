"""When a message arrives, if it does: links of a width and a length, that lose, repeat and are cut.

Every message goes up from its sender to the broker and down to its receiver. A device's messages queue on its uplink,
and what it is told on its downlink. Of two devices' links the worse counts, unless a table names both ends.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from edge.interfaces import NodeId
from edge_sim.conditions import Link, Partition, choose
from edge_sim.scenario import Scenario


@dataclass(frozen=True)
class _Cut:
    """A partition with its devices found: node -> its group."""

    begins: float
    ends: float
    group: dict[NodeId, int]
    lost: bool

    def between(self, at: float, a: NodeId, b: NodeId) -> bool:
        sides = self.group.get(a), self.group.get(b)
        return self.begins <= at < self.ends and None not in sides and sides[0] != sides[1]


@dataclass
class Links:
    """The links of all nodes.

    own: node -> its link, every number given. pairs: (sender, receiver) -> what a table with both ends says.
    """

    seed: int
    own: dict[NodeId, Link]
    pairs: dict[tuple[NodeId, NodeId], Link]
    cuts: Sequence[_Cut] = ()
    _free: dict[tuple[NodeId, str], float] = field(default_factory=dict)
    _random: dict[tuple[NodeId, NodeId], random.Random] = field(default_factory=dict)

    @property
    def shortest(self) -> float:
        """Seconds that every message takes at least: so long, nothing that one device does concerns another."""
        return min((link.latency or 0.0 for link in [*self.own.values(), *self.pairs.values()]), default=0.0)

    def up(self, at: float, sender: NodeId, receiver: NodeId, size: int) -> list[float]:
        """When a message of `size` bytes that is sent `at` is at the broker: once, twice, or never."""
        for cut in self.cuts:
            if cut.between(at, sender, receiver):
                if cut.lost:
                    return []
                at = cut.ends
        loss, twice, latency, jitter = (
            self._of(sender, receiver, key) for key in ("packet_loss", "duplication", "latency", "jitter")
        )
        chance = self._chance(sender, receiver) if loss or twice or jitter else None
        arrivals = []
        for _ in range(2 if chance and chance.random() < twice else 1):
            sent = self._through(at, sender, "up", self.own[sender].uplink, size)
            if chance and chance.random() < loss:
                continue
            arrivals.append(sent + latency + (chance.random() * jitter if chance else 0.0))
        return arrivals

    def down(self, at: float, receiver: NodeId, size: int) -> float:
        """When a message that is at the broker `at` has come down. To be asked in the order of `at`."""
        return self._through(at, receiver, "down", self.own[receiver].downlink, size)

    def _through(self, at: float, node: NodeId, way: str, kilobits: float | None, size: int) -> float:
        if kilobits is None:
            return at
        at = max(at, self._free.get((node, way), 0.0)) + 8 * size / (1000 * kilobits)
        self._free[node, way] = at
        return at

    def _of(self, sender: NodeId, receiver: NodeId, key: str) -> float:
        pair = self.pairs.get((sender, receiver)) if self.pairs else None
        value = getattr(pair, key) if pair else None
        if value is None:
            value = max(getattr(self.own[sender], key), getattr(self.own[receiver], key))
        return float(value)

    def _chance(self, sender: NodeId, receiver: NodeId) -> random.Random:
        """Of this direction alone, so that it does not matter what else is under way."""
        key = sender, receiver
        if key not in self._random:
            self._random[key] = random.Random(f"{self.seed} {sender} {receiver}")
        return self._random[key]


def build(scenario: Scenario, names: Sequence[NodeId], centre: NodeId | None) -> Links:
    """The links of a scenario; a centre's are wide, and no longer than its devices'."""
    common = {key: getattr(scenario, key) for key in Link.model_fields if key not in ("of", "to")}
    own = {name: dict(common) for name in names}
    pairs: dict[tuple[NodeId, NodeId], Link] = {}
    for number, table in enumerate(scenario.links):
        chance = np.random.default_rng([scenario.seed, 12, number])
        given = table.model_dump(exclude={"of", "to"}, exclude_none=True)
        senders = [names[i] for i in choose(table.of, len(names), chance)]
        if table.to is None:
            for name in senders:
                own[name] |= given
        else:
            receivers = [names[i] for i in choose(table.to, len(names), chance)]
            pairs |= {(a, b): table for a, b in product(senders, receivers) if a != b}
    links = {name: Link(**values) for name, values in own.items()}
    if centre:
        links[centre] = Link(latency=0.0, jitter=0.0, packet_loss=0.0, duplication=0.0)
    cuts = [_cut(table, number, scenario.seed, names, centre) for number, table in enumerate(scenario.partitions)]
    return Links(scenario.seed, links, pairs, cuts)


def _cut(table: Partition, number: int, seed: int, names: Sequence[NodeId], centre: NodeId | None) -> _Cut:
    group: dict[NodeId, int] = {centre: 0} if centre else {}
    for side, of in enumerate(table.groups):
        for i in choose(of, len(names), np.random.default_rng([seed, 13, number, side])):
            group.setdefault(names[i], side)
    return _Cut(table.at, table.at + table.seconds, group, table.lost)
