"""Small fleets for tests: the emulator's own parts, with the protocols in reach."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import plugins
from edge.sim import fleet as fleets
from edge.sim import world as worlds
from edge.sim.fleet import Device
from edge.sim.network import Network, in_memory
from edge.sim.scenario import Scenario
from edge.sim.world import World


@dataclass
class Fleet:
    scenario: Scenario
    world: World
    devices: list[Device]
    network: Network

    def rounds(self) -> Iterator[None]:
        """Play in step; yields after every round."""
        yield from fleets.play(self.devices, self.network.idle)


@contextmanager
def fleet(folder: Path, protocol: str = "d-distillation", **changes: Any) -> Iterator[Fleet]:
    """Devices in memory, on digits, soft labels uncoded unless told otherwise."""
    settings = {protocol: changes.pop("settings", {})}
    base = {"devices": 4, "model": "zoo:mlp:16", "rounds": 5, "coding": {"soft_labels": "float32"}}
    scenario = Scenario(**{**base, "protocol": protocol, "settings": settings, **changes})
    world = worlds.build(scenario)
    objective = plugins.load("edge.protocols", protocol).OBJECTIVE
    bundle = worlds.bundle(world, objective, "sgd", folder / "bundle", protocol)
    with in_memory("test") as network:
        yield Fleet(scenario, world, list(fleets.devices(scenario, world, protocol, bundle, network)), network)
