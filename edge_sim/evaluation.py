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

    accuracies: by head, in the task's metric. scores: all metrics of the last head. table: outputs of the last head for
    the test set, (rows, K, ...) float32; None if the device has no head.
    """

    index: int
    accuracies: list[Accuracy]
    scores: dict[str, float]
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
    last, dataset = tables[-1] if tables else None, world.dataset
    scores = {} if last is None else dataset.task.scores(last, dataset.y_test)
    return Evaluation(index, _accuracies(tables, world, device), scores, last)


def _answers(device: EmulatedNode, centre: EmulatedNode | None, x: Array) -> list[Floats]:
    """By head, the class probabilities (rows, classes) that the device gives `x`."""
    model = centre.engine if centre and centre.bundle else None
    before = [(engine, engine.work.copy()) for engine in (device.engine, model) if engine]
    tables = list(device.protocol.heads(device.engine, x, model))
    for engine, count in before:
        engine.work = count
    return tables


def _accuracies(tables: Sequence[Array], world: World, device: EmulatedNode) -> list[Accuracy]:
    """By head: (score on the test set, the same weighted as the device's own labels)."""
    score, y = world.dataset.task.score, world.dataset.y_test
    return [(score(table, y), score(table, y, device.own)) for table in tables]
