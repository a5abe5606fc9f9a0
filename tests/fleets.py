"""Small fleets for tests: the emulator that `edge-sim` runs, with the protocols in reach."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.interfaces import DEVICE
from edge_sim import world as worlds
from edge_sim.closing import RoundClosed
from edge_sim.emulation import NodeFinished
from edge_sim.fleet import EmulatedNode
from edge_sim.scenario import Scenario
from edge_sim.stages import Stage, in_virtual_time
from edge_sim.world import Bundles, World
from tests import payloads


@dataclass
class Fleet:
    scenario: Scenario
    world: World
    devices: list[EmulatedNode]
    stage: Stage

    @property
    def members(self) -> list[EmulatedNode]:
        """Without the centre."""
        return [d for d in self.devices if d.role == DEVICE]

    @property
    def centre(self) -> EmulatedNode:
        """The node in the middle."""
        return next(d for d in self.devices if d.role != DEVICE)

    def rounds(self) -> Iterator[int]:
        """Run; yields the number of every round that is over."""
        for occurrence in self.stage.occurrences:
            if isinstance(occurrence, RoundClosed):
                yield occurrence.number

    def finished(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Run; yields number and row of every device that has finished a round."""
        for occurrence in self.stage.occurrences:
            if isinstance(occurrence, NodeFinished):
                yield occurrence.index, occurrence.row

    def rows(self, index: int) -> list[dict[str, float]]:
        """Run to the end; what the device of that number reports after each of its rounds."""
        return [row for number, row in self.finished() if number == index]


@contextmanager
def fleet(folder: Path, protocol: str = "d-distillation", **changes: Any) -> Iterator[Fleet]:
    """Devices in memory, on digits, soft labels in float32 unless `changes` say otherwise."""
    settings = {protocol: changes.pop("settings", {})}
    base = {
        "devices": 4,
        "model": "zoo:mlp:16",
        "rounds": 5,
        "evaluate_every": 1000,
        "coding": {"soft_labels": "float32"},
    }
    scenario = Scenario(
        **{**base, **payloads.scenario(protocol), "protocol": protocol, "settings": settings, **changes}
    )
    algorithm = scenario.algorithm(protocol)
    world = worlds.build(scenario)
    with in_virtual_time(world, algorithm, Bundles(world, folder / "bundles"), "test") as stage:
        nodes = [node for node in stage.nodes if isinstance(node, EmulatedNode)]
        yield Fleet(scenario, world, nodes, stage)
