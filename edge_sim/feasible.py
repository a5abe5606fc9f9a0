"""What cannot be about a scenario, all of it at once, before anything is loaded or started."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge import robust
from edge.errors import ConfigError
from edge.graph import topology
from edge.interfaces import DEVICE
from edge.specs import ENGINES, PROTOCOLS
from edge_sim import attacks, boards, replay
from edge_sim.conditions import choose

if TYPE_CHECKING:
    from edge_sim.scenario import Scenario


def problems(scenario: "Scenario") -> list[str]:
    """In words, for people; none if it can be tried."""
    found = []
    for check in _checks(scenario):
        try:
            check()
        except ConfigError as reason:
            if str(reason) not in found:  # several protocols may be refused for one
                found.append(str(reason))
    return [*found, *_together(scenario), *_files(scenario)]


def _checks(scenario: "Scenario") -> Iterator[Callable[[], object]]:
    """What raises ConfigError if something is wrong."""
    names = [f"device-{i}" for i in range(scenario.devices)]
    for name in scenario.protocols:
        yield partial(scenario.algorithm, name)
    yield partial(topology.build, scenario.topology, names, scenario.seed)
    yield scenario.coding.by_kind
    yield partial(robust.load, scenario.aggregation)
    yield partial(scenario.privacy.publisher, DEVICE, 0)
    yield partial(ENGINES.load, scenario.runtime)
    if scenario.byzantine:
        yield partial(attacks.parse, scenario.byzantine)
    for name in {name for name in (scenario.board, *(table.board for table in scenario.boards)) if name}:
        yield partial(boards.load, name)
    if scenario.replay:
        yield partial(_replayed, Path(scenario.replay), scenario)
    selections = [(f"boards[{i}].of", table.of) for i, table in enumerate(scenario.boards)]
    for i, link in enumerate(scenario.links):
        selections += [(f"links[{i}].{key}", of) for key, of in (("of", link.of), ("to", link.to)) if of is not None]
    for i, partition in enumerate(scenario.partitions):
        selections += [(f"partitions[{i}].groups", of) for of in partition.groups]
    selections += [(f"absences[{i}].of", table.of) for i, table in enumerate(scenario.absences)]
    for where, of in selections:
        yield partial(_chosen, where, of, scenario.devices)


def _replayed(folder: Path, scenario: "Scenario") -> None:
    found = len(replay.read(folder))
    if found != scenario.devices:
        raise ConfigError(f"replay: {folder} has rows of {found} devices, the scenario has {scenario.devices}")
    if scenario.board or scenario.boards:
        raise ConfigError("replay: how long devices compute is told by the field test; leave out board and boards")


def _chosen(where: str, of: str, devices: int) -> list[int]:
    try:
        return choose(of, devices, np.random.default_rng(0))
    except ConfigError as reason:
        raise ConfigError(f"{where}: {reason}") from None


def _together(scenario: "Scenario") -> Iterator[str]:
    """What is impossible in this company."""
    known = PROTOCOLS.names()
    yield from (
        f"settings.{name}: no such protocol; there are: {', '.join(known)}"
        for name in scenario.settings
        if name not in known
    )
    if scenario.workers > 1 and scenario.engine in ENGINES.names() and not ENGINES.load(scenario.engine).concurrent:
        yield f"workers: {scenario.engine} computes for one device at a time; leave it at 1"
    if scenario.byzantine:
        _, _, count = scenario.byzantine.partition(":")
        if count.isdigit() and int(count) >= scenario.devices:
            yield f"byzantine '{scenario.byzantine}': of {scenario.devices} devices one at least has to be honest"
    if scenario.on_ray:
        if scenario.transport == "mqtt" or scenario.convergence:
            yield "engine: devices on Ray talk through memory and cannot be looked into; leave out mqtt and convergence"
        if scenario.replay:
            yield "replay: not on Ray, whose actors cannot take it over from one another"
        asking = [name for name in scenario.protocols if name in known and PROTOCOLS.load(name).asks_centre]
        yield from (f"engine: devices of {name} are examined with their centre's model; not on Ray" for name in asking)
    if scenario.transport == "mqtt" and scenario.timed:
        yield "links, boards and absences are emulated in memory; leave out --transport mqtt"
    if scenario.broker and scenario.transport != "mqtt":
        yield f"broker: {scenario.broker} is given, but transport is 'memory'; say --transport mqtt"
    for i, link in enumerate(scenario.links):
        if link.to is not None and (link.uplink or link.downlink):
            yield f"links[{i}]: uplink and downlink are of a device, whoever it talks to; leave out `to`, or them"
    for i, absence in enumerate(scenario.absences):
        if absence.every is not None and absence.seconds is None:
            yield f"absences[{i}].every: who has left for good cannot leave again; say for how many `seconds`"
        elif absence.every is not None and absence.seconds is not None and absence.every <= absence.seconds:
            yield f"absences[{i}]: they never come back, as `every` {absence.every:g} <= `seconds` {absence.seconds:g}"
        if absence.seconds is None and absence.of in ("all", "100%"):
            yield f"absences[{i}]: nobody would be left"


def _files(scenario: "Scenario") -> Iterator[str]:
    """Files that are not there."""
    for key, spec in (("data", scenario.data), ("reference", scenario.reference)):
        kind, _, path = spec.partition(":")
        if kind in ("npz", "idx") and not Path(path).exists():
            yield f"{key}: {spec} cannot be read: there is no such file"
    for spec in (*scenario.models, *([scenario.edge_model] if scenario.edge_model else [])):
        if spec.endswith(".onnx") and not Path(spec).exists():
            yield f"model: no ONNX file at {spec}"
        elif not spec.startswith("zoo:") and not Path(spec).exists():
            yield f"model '{spec}' is neither zoo:NAME, nor a bundle's folder, nor a .onnx file"
