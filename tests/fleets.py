"""Small fleets for tests: the emulator's own parts, with the protocols in reach."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.interfaces import DEVICE
from edge_sim import fleet as fleets
from edge_sim import world as worlds
from edge_sim.fleet import Device
from edge_sim.network import Network, in_memory
from edge_sim.scenario import Scenario
from edge_sim.world import Bundles, World
from tests import payloads


@dataclass
class Fleet:
    scenario: Scenario
    world: World
    devices: list[Device]
    network: Network

    @property
    def members(self) -> list[Device]:
        """Without the centre."""
        return [d for d in self.devices if d.role == DEVICE]

    @property
    def centre(self) -> Device:
        """The node in the middle."""
        return next(d for d in self.devices if d.role != DEVICE)

    def rounds(self) -> Iterator[None]:
        """Play in step; yields after every round."""
        yield from fleets.play(self.devices, self.network)


@contextmanager
def fleet(folder: Path, protocol: str = "d-distillation", **changes: Any) -> Iterator[Fleet]:
    """Devices in memory, on digits, soft labels in float32 unless `changes` say otherwise."""
    settings = {protocol: changes.pop("settings", {})}
    base = {"devices": 4, "model": "zoo:mlp:16", "rounds": 5, "coding": {"soft_labels": "float32"}}
    scenario = Scenario(
        **{**base, **payloads.scenario(protocol), "protocol": protocol, "settings": settings, **changes}
    )
    algorithm = scenario.algorithm(protocol)
    world = worlds.build(scenario)
    with in_memory("test") as network:
        nodes = list(fleets.devices(world, algorithm, Bundles(world, folder / "bundles"), network))
        yield Fleet(scenario, world, nodes, network)
