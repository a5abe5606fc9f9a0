"""How well a device would answer now, on the test set."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge.interfaces import Array, Floats
from edge_sim.fleet import EmulatedNode
from edge_sim.result import Accuracy
from edge_sim.world import World


@dataclass(frozen=True)
class Evaluation:
    """Of device number `index`.

    accuracies: by head. table: class probabilities of the last head for the test set, (rows, classes) float32; None if
    the device has no head.
    """

    index: int
    accuracies: list[Accuracy]
    table: Array | None


def evaluate(index: int, device: EmulatedNode, centre: EmulatedNode | None, world: World) -> Evaluation:
    """Let device number `index` answer the test set.

    Args:
        index: its number.
        device: it.
        centre: the node in the middle, whose model some protocols answer with.
        world: with the test set.

    Returns:
        Its accuracies by head. Its engine's count of work is as it was: an evaluation is no work of the device's.
    """
    tables = _answers(device, centre, world.dataset.x_test)
    return Evaluation(index, _accuracies(tables, world, device), tables[-1] if tables else None)


def _answers(device: EmulatedNode, centre: EmulatedNode | None, x: Array) -> list[Floats]:
    """By head, the class probabilities (rows, classes) that the device gives `x`."""
    model = centre.engine if centre and centre.bundle else None
    before = [(engine, engine.work.copy()) for engine in (device.engine, model) if engine]
    tables = list(device.protocol.heads(device.engine, x, model))
    for engine, count in before:
        engine.work = count
    return tables


def _accuracies(tables: Sequence[Array], world: World, device: EmulatedNode) -> list[Accuracy]:
    """By head: (fraction of the test set that is right, the same weighted as the device's own classes)."""
    hits = [table.argmax(axis=1) == world.dataset.y_test for table in tables]
    return [(float(hit.mean()), float(hit @ device.own)) for hit in hits]
