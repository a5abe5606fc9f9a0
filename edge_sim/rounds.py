"""Rows and evaluations of single nodes, put together to rounds of the fleet."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from edge import outcome
from edge.interfaces import DEVICE, Array, NodeId, Traffic
from edge.node import Row
from edge_sim.closing import RoundClosed
from edge_sim.evaluation import Evaluation
from edge_sim.result import Accuracy, DeviceResult, RoundResult

KNOWN = ("round", "seconds", "wait_seconds")
"""keys of a row that a result has a place of its own for, whoever reports them"""


class ReportedNode(Protocol):
    """What a result needs of a node; `edge_sim.fleet.EmulatedNode` is one, `edge_sim.on_ray.RemoteNode` another."""

    row: Row

    @property
    def id(self) -> NodeId:
        """Its name."""

    @property
    def role(self) -> str:
        """See `ProtocolContext.role`."""

    @property
    def classes(self) -> tuple[int, ...]:
        """Of its private samples."""

    @property
    def samples(self) -> int:
        """How many private ones it has."""

    @property
    def traffic(self) -> Traffic:
        """What it has sent and received so far."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Messages its inbox refused, by cause."""

    @property
    def honest(self) -> bool:
        """Whether it sends what it should."""


@dataclass
class Rounds:
    """Collects what nodes report, and closes a round once nobody is in it any more.

    Attributes:
        nodes: all of them, the centre last.
        timed: whether virtual seconds mean anything.
        evaluations: the latest of every device, as accuracies by head.
        losses: of every node that trains, by round.
        scores: the latest of every device, by metric.
    """

    nodes: Sequence[ReportedNode]
    timed: bool
    evaluations: dict[int, list[Accuracy]] = field(default_factory=dict)
    losses: dict[int, list[float]] = field(default_factory=dict)
    scores: dict[int, dict[str, float]] = field(default_factory=dict)
    _rows: dict[int, dict[int, Row]] = field(default_factory=dict)
    _evaluations: dict[int, dict[int, list[Accuracy]]] = field(default_factory=dict)
    _spread: dict[int, "Spread"] = field(default_factory=dict)

    def finished(self, index: int, row: Row) -> None:
        """Take in a node's row of a round; if it repeats a round after a crash, the second row counts."""
        self._rows.setdefault(int(row["round"]), {})[index] = row
        if (loss := outcome.supervised_loss(row)) is not None:
            self.losses.setdefault(index, []).append(loss)

    def evaluated(self, evaluation: Evaluation) -> None:
        """Take in the evaluation of a device after the round that it finished last."""
        self.evaluations[evaluation.index] = evaluation.accuracies
        self.scores[evaluation.index] = evaluation.scores
        number = int(self.nodes[evaluation.index].row["round"])
        self._evaluations.setdefault(number, {})[evaluation.index] = evaluation.accuracies
        if evaluation.table is not None:
            self._spread.setdefault(number, Spread()).add(evaluation.table)

    def close(self, closed: RoundClosed, seconds: float) -> RoundResult | None:
        """Summarise a round that is over; None if nobody has finished it. seconds: of real time that it took."""
        number = closed.number
        rows = self._rows.pop(number, {})
        accuracies = [heads for _, heads in sorted(self._evaluations.pop(number, {}).items())]
        spread = self._spread.pop(number, None)
        for of_round in (self._rows, self._evaluations, self._spread):
            for over in [n for n in of_round if n < number]:
                del of_round[over]  # reported by a node that has repeated it since
        if not rows:
            return None
        means = self._means(rows)
        return RoundResult(
            round=number,
            loss=means["loss"] if np.isfinite(means.get("loss", np.nan)) else None,
            accuracy_all=float(np.mean([heads[-1][0] for heads in accuracies])) if accuracies else None,
            accuracy_own=float(np.mean([heads[0][1] for heads in accuracies])) if accuracies else None,
            consensus_distance=spread.distance if spread else None,
            payload_bytes_total=closed.payload_bytes,
            link_seconds=means["seconds"] if self.timed else None,
            virtual_seconds=closed.at if self.timed else None,
            devices=sum(self.nodes[i].role == DEVICE for i in rows),
            metrics={k: v for k, v in means.items() if k.rsplit("/", 1)[-1] not in KNOWN and k != "loss"},
            seconds=seconds,
        )

    def device(self, index: int) -> DeviceResult:
        """Summarise a node."""
        node, of_heads = self.nodes[index], self.evaluations.get(index, [])
        traffic = node.traffic
        return DeviceResult(
            id=node.id,
            accuracy_all=of_heads[-1][0] if of_heads else 0.0,
            accuracy_own=of_heads[0][1] if of_heads else 0.0,
            accuracy_by_head=of_heads if len(of_heads) > 1 else [],
            samples=node.samples,
            round=int(node.row.get("round", 0)),
            payload_bytes_sent=traffic.payload_bytes_sent,
            payload_bytes_received=traffic.payload_bytes_received,
            wire_bytes_sent=traffic.wire_bytes_sent,
            messages_sent=traffic.messages_sent,
            loss=outcome.supervised_loss(node.row),
        )

    @property
    def mean_scores(self) -> dict[str, float]:
        """Means over the devices of all metrics."""
        keys = dict.fromkeys(key for scores in self.scores.values() for key in scores)
        return {key: float(np.mean([scores[key] for scores in self.scores.values()])) for key in keys}

    @property
    def payload_bytes(self) -> int:
        """Sent by all so far."""
        return sum(node.traffic.payload_bytes_sent for node in self.nodes)

    @property
    def counts(self) -> dict[str, int]:
        """Messages that inboxes refused, by cause."""
        total = Counter[str]()
        for node in self.nodes:
            total.update(node.counts)
        return dict(total)

    def _means(self, rows: Mapping[int, Row]) -> dict[str, float]:
        """Means over the devices that report a metric; a centre's metrics are prefixed with its role."""
        members = [row for i, row in sorted(rows.items()) if self.nodes[i].role == DEVICE]
        keys = dict.fromkeys(k for row in members for k in row)
        means = {k: float(np.mean([row[k] for row in members if k in row])) for k in keys}
        for i, row in rows.items():
            if (role := self.nodes[i].role) != DEVICE:
                means |= {f"{role}/{k}": v for k, v in row.items()}
                means.setdefault("loss", row.get("loss", float("nan")))
                means.setdefault("seconds", row["seconds"])
        return means


@dataclass
class Spread:
    """How far devices are from their mean, from one table (rows, classes) at a time, without keeping them all."""

    first: Array | None = None
    """subtracted from the others, so that no digits are lost where all are nearly alike"""
    count: int = 0
    total: Array = field(default_factory=lambda: np.zeros(()))
    squares: float = 0.0

    def add(self, table: Array) -> None:
        """Take in the table of one device."""
        if self.first is None:
            self.first = table.astype(np.float64)
        away = table - self.first
        self.count += 1
        self.total = self.total + away
        self.squares += float((away**2).sum())

    @property
    def distance(self) -> float:
        """Root mean square over devices and rows of the distance of a device's row from the devices' mean."""
        mean = self.total / self.count
        return float(np.sqrt(max(0.0, self.squares / self.count - float((mean**2).sum())) / len(mean)))
