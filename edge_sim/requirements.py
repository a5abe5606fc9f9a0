"""What a scenario must fulfil, checked all at once, before anything is loaded or started.

- What a setting names must exist and accept its argument: a protocol, a topology, a coding, a board (`_loads`).
- Settings must not exclude each other: SCENARIO, PROTOCOL, LINK and ABSENCE are tables of rules. What differs from one
  protocol or engine to another, its spec says.
- Files must be there: FILES.

`run` checks a scenario from Python as `edge-sim` checks one from a file and flags.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from edge import data, robust
from edge.engines import ENGINES
from edge.errors import ConfigError
from edge.graph import topology
from edge.interfaces import DEVICE
from edge.protocols import PROTOCOLS
from edge.specs import ProtocolSpec
from edge_sim import attacks, boards, replay
from edge_sim.conditions import Absence, Link, choose
from edge_sim.scenario import Scenario
from export.errors import ExportError
from export.objectives import parse, supervision

T = TypeVar("T")
Load = Callable[[], object]
"""raises ConfigError if it cannot"""


@dataclass(frozen=True)
class Rule(Generic[T]):
    """Settings that exclude each other.

    broken: whether they do. problem: the sentence then, a format string; `it` is what was checked, `where` its key.
    """

    broken: Callable[[T], object]
    problem: str

    def problems(self, it: T, where: str = "") -> Iterator[str]:
        """The sentence, if it is broken."""
        if self.broken(it):
            yield self.problem.format(it=it, where=where)


@dataclass(frozen=True)
class ChosenProtocol:
    """One of a scenario's protocols, and what it says of itself."""

    scenario: Scenario
    name: str
    spec: ProtocolSpec[Any]


SCENARIO: tuple[Rule[Scenario], ...] = (
    Rule(
        lambda s: s.workers > 1 and s.engine in ENGINES.names() and not ENGINES.load(s.engine).concurrent,
        "workers: {it.engine} computes for one device at a time; leave it at 1",
    ),
    Rule(
        lambda s: s.byzantine and _count(s.byzantine) >= s.devices,
        "byzantine '{it.byzantine}': of {it.devices} devices one at least has to be honest",
    ),
    Rule(
        lambda s: s.on_ray and (s.transport == "mqtt" or s.convergence),
        "engine: devices on Ray talk through memory and cannot be looked into; leave out mqtt and convergence",
    ),
    Rule(
        lambda s: s.on_ray and s.replay,
        "replay: not on Ray, whose actors cannot take it over from one another",
    ),
    Rule(
        lambda s: s.transport == "mqtt" and s.timed,
        "links, boards and absences are emulated in memory; leave out --transport mqtt",
    ),
    Rule(
        lambda s: s.broker and s.transport != "mqtt",
        "broker: {it.broker} is given, but transport is 'memory'; say --transport mqtt",
    ),
    Rule(
        lambda s: (
            s.standardize == "always"
            and any(not spec.startswith("zoo:") and Path(spec).is_dir() for spec in _models(s))
        ),
        "standardize: a bundle is trained as it was exported; give edge-export --standardize, or name the model itself",
    ),
    Rule(
        lambda s: s.replay and (s.board or s.boards),
        "replay: the field test says how long devices compute; leave out board and boards",
    ),
)
PROTOCOL: tuple[Rule[ChosenProtocol], ...] = (
    Rule(
        lambda chosen: chosen.scenario.on_ray and chosen.spec.asks_centre,
        "engine: devices of {it.name} are evaluated with their centre's model; not on Ray",
    ),
)
LINK: tuple[Rule[Link], ...] = (
    Rule(
        lambda link: link.to is not None and (link.uplink or link.downlink),
        "{where}: uplink and downlink are of a device, whoever it talks to; leave out `to`, or them",
    ),
)
ABSENCE: tuple[Rule[Absence], ...] = (
    Rule(
        lambda absence: absence.every is not None and absence.seconds is None,
        "{where}.every: who has left for good cannot leave again; say for how many `seconds`",
    ),
    Rule(
        lambda absence: absence.every is not None and absence.seconds is not None and absence.every <= absence.seconds,
        "{where}: they never come back, as `every` {it.every:g} <= `seconds` {it.seconds:g}",
    ),
    Rule(
        lambda absence: absence.seconds is None and absence.of in ("all", "100%"),
        "{where}: nobody would be left",
    ),
    Rule(
        lambda absence: absence.seconds is None and absence.asleep,
        "{where}.asleep: who has left for good does not wake up; say for how many `seconds`",
    ),
)
FILES: tuple[tuple[Callable[[Scenario], Sequence[str]], Callable[[str], bool], str], ...] = (
    (
        lambda s: (s.data,),
        lambda spec: not _there(spec),
        "data: {} cannot be read: there is no such file",
    ),
    (
        lambda s: (s.reference,),
        lambda spec: not _there(spec),
        "reference: {} cannot be read: there is no such file",
    ),
    (
        lambda s: _models(s),
        lambda spec: spec.endswith(".onnx") and not Path(spec).exists(),
        "model: no ONNX file at {}",
    ),
    (
        lambda s: _models(s),
        lambda spec: not (spec.startswith("zoo:") or spec.endswith(".onnx") or Path(spec).exists()),
        "model '{}' is neither zoo:NAME, nor a bundle's folder, nor a .onnx file",
    ),
)
"""(what is named, whether it is missing, the sentence then)"""


def require(scenario: Scenario, origin: str) -> None:
    """Check that a scenario can be run.

    Args:
        scenario: whose values are possible each by itself.
        origin: of its values, for people.

    Raises:
        ConfigError: with everything that is wrong with it.
    """
    if wrong := problems(scenario):
        count = f"{origin}: {len(wrong)} problems: " if len(wrong) > 1 else ""
        raise ConfigError(count + "; ".join(wrong))


def problems(scenario: Scenario) -> list[str]:
    """All that is wrong with a scenario, in sentences, each once; none if it can be run."""
    return list(dict.fromkeys([*_refused(_loads(scenario)), *_excluded(scenario), *_missing(scenario)]))


def _refused(loads: Iterator[Load]) -> Iterator[str]:
    for load in loads:
        try:
            load()
        except ConfigError as reason:
            yield str(reason)


def _loads(scenario: Scenario) -> Iterator[Load]:
    """What a scenario names, to be loaded."""
    for name in scenario.protocols:
        yield partial(scenario.algorithm, name)
    names = [f"device-{i}" for i in range(scenario.devices)]
    yield partial(topology.build, scenario.topology, names, scenario.seed)
    yield scenario.coding.by_kind
    yield lambda: scenario.labels
    if scenario.supervision is not None:
        yield partial(_supervises, scenario.supervision)
    if scenario.aggregation is not None:
        yield partial(robust.load, scenario.aggregation)
    yield partial(scenario.privacy.publisher, DEVICE, 0)
    yield partial(ENGINES.load, scenario.runtime)
    if scenario.byzantine:
        yield partial(attacks.parse, scenario.byzantine)
    for board in dict.fromkeys([scenario.board, *(table.board for table in scenario.boards)]):
        if board:
            yield partial(boards.load, board)
    if scenario.replay:
        yield partial(_replayed, Path(scenario.replay), scenario.devices)
    for where, of in _selections(scenario):
        yield partial(_chosen, where, of, scenario.devices)


def _selections(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """(key, which devices it names)."""
    for i, board in enumerate(scenario.boards):
        yield f"boards[{i}].of", board.of
    for i, link in enumerate(scenario.links):
        yield f"links[{i}].of", link.of
        if link.to is not None:
            yield f"links[{i}].to", link.to
    for i, partition in enumerate(scenario.partitions):
        yield from ((f"partitions[{i}].groups", of) for of in partition.groups)
    for i, absence in enumerate(scenario.absences):
        yield f"absences[{i}].of", absence.of


def _excluded(scenario: Scenario) -> Iterator[str]:
    known = PROTOCOLS.names()
    for name in scenario.settings:
        if name not in known:
            yield f"settings.{name}: no such protocol; there are: {', '.join(known)}"
    for rule in SCENARIO:
        yield from rule.problems(scenario)
    for name in (name for name in scenario.protocols if name in known):
        for of_protocol in PROTOCOL:
            yield from of_protocol.problems(ChosenProtocol(scenario, name, PROTOCOLS.load(name)))
    for i, link in enumerate(scenario.links):
        for of_link in LINK:
            yield from of_link.problems(link, f"links[{i}]")
    for i, absence in enumerate(scenario.absences):
        for of_absence in ABSENCE:
            yield from of_absence.problems(absence, f"absences[{i}]")


def _missing(scenario: Scenario) -> Iterator[str]:
    for named, missing, problem in FILES:
        yield from (problem.format(spec) for spec in named(scenario) if missing(spec))


def _replayed(folder: Path, devices: int) -> None:
    rows = len(replay.read(folder))
    if rows != devices:
        raise ConfigError(f"replay: {folder} has rows of {rows} devices, the scenario has {devices}")


def _chosen(where: str, of: str, devices: int) -> None:
    try:
        choose(of, devices, np.random.default_rng(0))
    except ConfigError as reason:
        raise ConfigError(f"{where}: {reason}") from None


def _models(scenario: Scenario) -> tuple[str, ...]:
    return (*scenario.models, *([scenario.edge_model] if scenario.edge_model else []))


def _is_bundle(model: str) -> bool:
    return not model.startswith("zoo:") and Path(model).is_dir()


def _there(source: str) -> bool:
    """Whether the file that a source reads exists, if it reads one."""
    path = data.path(source)
    return path is None or path.exists()


def _supervises(term: str) -> None:
    """Raise ConfigError unless a term learns from labels."""
    try:
        terms = parse(term)
    except ExportError as reason:
        raise ConfigError(f"supervision: {reason}") from None
    if len(terms) > 1 or supervision(terms) is None:
        raise ConfigError(f"supervision: '{term}' does not learn from labels, or is more than one term")


def _count(byzantine: str) -> int:
    """How many there are; 0 if it does not say."""
    count = byzantine.partition(":")[2]
    return int(count) if count.isdigit() else 0
