"""One builder for a node: a board's and the emulator's do the same rounds, bit for bit."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import device
from edge.device import Device
from edge.engines import NoModel
from edge.installation import Installation
from edge.interfaces import Array
from edge.messaging.mailbox import Waiting
from edge.transports.memory import Network
from edge_sim import world as worlds
from edge_sim.scenario import Scenario
from edge_sim.stages import in_virtual_time
from edge_sim.world import Bundles

CONFIG = """
topology = "complete"
split = "classes:4"
reference = "60"
seed = 3
rounds = 4
round_timeout = 5.0
aggregation = "{rule}"
[coding]
soft_labels = "float16"
[privacy]
temperature = {temperature}
"""


def states(devices: Sequence[Any]) -> list[dict[str, Array]]:
    return [one.engine.state() | one.protocol.state() for one in devices]


def emulated(folder: Path, scenario: Scenario) -> tuple[list[str], list[dict[str, Array]], list[dict[str, float]]]:
    """Names, states after the last round, rows of the last round; the bundles stay in `folder`."""
    world = worlds.build(scenario)
    algorithm = scenario.algorithm(scenario.protocol)
    with in_virtual_time(world, algorithm, Bundles(world, folder), "test") as stage:
        for _ in stage.occurrences:
            pass
        nodes = stage.nodes
        return [node.id for node in nodes], states(nodes), [node.row for node in nodes]


def on_boards(files: list[Path]) -> tuple[list[dict[str, Array]], list[dict[str, float]]]:
    """The same of nodes made from files, as `edge-node` makes them, but for their transport and clock."""
    nodes: list[Device] = []
    network = Network("test")
    for file in files:
        installation = Installation.read(file, {})
        parts = installation.parts()
        transport = network.attach(installation.id)
        nodes.append(installation.device(parts, installation.engine(parts), transport, lambda: 0.0))
    rows: dict[str, dict[str, float]] = {}
    running = {node.id: node.rounds() for node in nodes}
    while running:
        for name in list(running):
            step = next(running[name], None)
            if step is None:
                del running[name]
            elif not isinstance(step, Waiting):
                rows[name] = step
    return states(nodes), [rows[node.id] for node in nodes]


@pytest.mark.parametrize(
    ("protocol", "rule", "temperature"),
    [("d-distillation", "median", 1.5), ("federated-distillation", "mean", 1.0), ("fedavg", "mean", 1.0)],
)
def test_a_board_and_the_emulator_run_the_same_device(
    protocol: str, rule: str, temperature: float, tmp_path: Path
) -> None:
    common = CONFIG.format(rule=rule, temperature=temperature)
    settings = {"learning_rate": 0.2}
    scenario = Scenario(
        **tomllib.loads(common), devices=3, model="zoo:mlp:8", protocol=protocol, settings={protocol: settings}
    )
    names, expected, last_rows = emulated(tmp_path, scenario)
    devices = names[: scenario.devices]
    files = []
    for name in names:
        role = "device" if name in devices else name
        own = f'id = "{name}"\nrole = "{role}"\nprotocol = "{protocol}"\npeers = {devices}\nbundle = "bundle-0"\n'
        if (tmp_path / "bundle-1").is_dir():
            own += 'centre_bundle = "bundle-1"\n'
        files.append(tmp_path / f"{name}.toml")
        files[-1].write_text(own + common + "[settings]\nlearning_rate = 0.2\n")
    actual, rows = on_boards(files)
    assert [one.keys() for one in actual] == [one.keys() for one in expected]
    assert all(
        np.array_equal(mine[key], theirs[key]) for mine, theirs in zip(actual, expected, strict=True) for key in mine
    )
    for mine, theirs in zip(rows, last_rows, strict=True):
        assert {k: v for k, v in mine.items() if "seconds" not in k} == {
            k: v for k, v in theirs.items() if "seconds" not in k
        }


def test_a_centre_without_a_model_has_nothing_to_train(tmp_path: Path) -> None:
    scenario = Scenario(devices=3, model="zoo:mlp:8", protocol="federated-distillation", rounds=1, reference="60")
    world = worlds.build(scenario)
    algorithm = scenario.algorithm(scenario.protocol)
    bundle = Bundles(world, tmp_path).device(algorithm, 0)
    context = world.context(algorithm, "server", bundle, 0)
    assert isinstance(device.engine(scenario, None, context), NoModel)
    assert context.x.shape == (0, 1, 8, 8)


def test_all_of_the_data_is_not_copied() -> None:
    scenario = Scenario(devices=2, reference="60").model_copy(update={"split": None})
    fleet = device.read_fleet(scenario, ["a", "b"])
    x, _ = fleet.only("a").share("a")
    assert np.shares_memory(x, fleet.dataset.x_train)
