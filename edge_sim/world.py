"""What all protocols of a scenario share: data, its division, the reference set, the graph, the models."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import eigsh

import edge.bundle
from edge import data, device, tokens
from edge.algorithm import Algorithm
from edge.bundle import BACKBONE, MANIFEST, Bundle
from edge.device import FleetData
from edge.engines import ENGINES
from edge.errors import ConfigError, DataError
from edge.graph import mixing
from edge.interfaces import Array
from edge.labels import Classes
from edge.standardization import HOW, ill_scaled
from edge_sim.scenario import Scenario
from export import load as loading
from export import zoo
from export.errors import ExportError
from export.model import Model
from export.objectives import parse, task_of
from export.training.update import Update
from export.transforms import heads, outputs
from export.transforms import split as splits
from export.transforms.standardize import standardize, takes_tokens
from export.write import export

_log = logging.getLogger(__name__)
DENSE = 500
"""Devices up to which W is looked at whole; the time for that grows with their cube."""


@dataclass(frozen=True)
class World(FleetData):
    """The fleet's data, its scenario, and its models, by what the scenario calls them; None stands for `edge_model`.

    notes: what was done to the models, or should be, in sentences.
    """

    scenario: Scenario
    models: Mapping[str | None, Model | Bundle]
    notes: tuple[str, ...] = ()

    @property
    def spectral_gap(self) -> float:
        """1 - the second largest |eigenvalue| of W. Of a large W, which is mostly zeros, by Lanczos' method."""
        if len(self.names) <= DENSE:
            return mixing.spectral_gap(mixing.matrix(self.weights, self.names))
        number = {name: i for i, name in enumerate(self.names)}
        entries = [(w, number[a], number[b]) for a, row in self.weights.items() for b, w in row.items()]
        values, rows, columns = zip(*entries, strict=True)
        W = csr_array((values, (rows, columns)), shape=(len(number), len(number)))
        start = np.random.default_rng(0).normal(size=len(number))
        return 1 - float(np.sort(np.abs(eigsh(W, k=2, which="LM", v0=start, tol=1e-6, return_eigenvectors=False)))[0])

    def own(self, index: int) -> Array:
        """Weights of the test rows (n,), summing to 1, that make their classes as frequent as on device `index`."""
        strata, labels = self.dataset.task.strata, self.dataset.y_train
        y, test = strata(labels[self.shares[index]], labels), strata(self.dataset.y_test, labels)
        groups = 1 + max(y.max(), test.max())
        held = np.bincount(y, minlength=groups)
        weights = (held / np.maximum(np.bincount(test, minlength=groups), 1))[test]
        shares: Array = weights / max(weights.sum(), np.finfo(float).tiny)
        return shares


def build(scenario: Scenario) -> World:
    """Load, divide and check everything, before anything runs.

    Raises:
        ConfigError, DataError, ExportError, BundleError: what does not fit, and with what.
    """
    names = tuple(f"device-{i:0{len(str(scenario.devices - 1))}}" for i in range(scenario.devices))
    specs: dict[str | None, str] = {spec: spec for spec in scenario.models}
    if scenario.edge_model is not None:
        specs[None] = scenario.edge_model
    fleet = device.read_fleet(
        scenario, names, scenario.rows, _classes(specs.values()), scenario.labels, tokens=_tokens(specs.values())
    )
    if not len(fleet.dataset.y_test):
        raise DataError(f"{scenario.data} has no test part, which the emulator measures accuracy on; add one")
    for protocol in scenario.protocols:
        scenario.algorithm(protocol).require_task(fleet.dataset.task)
    models = {key: _model(spec, scenario, fleet.dataset) for key, spec in specs.items()}
    shapes = {spec: m.manifest.sample if isinstance(m, Bundle) else m.shape for spec, m in models.items()}
    if len(set(shapes.values())) > 1:
        takes = ", ".join(f"{specs[key]} takes {list(shape)}" for key, shape in shapes.items())
        raise ConfigError(f"model: all models of a scenario take samples of one shape; {takes}")
    fleet = _fitted(fleet, next(iter(shapes.values())), scenario)
    models, notes = _standardized(models, fleet.reference.x, scenario)
    for note in notes:
        _log.warning("note: %s", note)
    fleet = _featured(fleet, list(models.values()))
    return World(**vars(fleet), scenario=scenario, models=models, notes=notes)


@dataclass
class Bundles:
    """What the nodes of one protocol train; exported once for each model and objective."""

    world: World
    folder: Path
    exported: dict[tuple[object, ...], Bundle] = field(default_factory=dict)

    def device(self, algorithm: Algorithm, index: int) -> Bundle:
        """The bundle of the device of that number."""
        spec = self.world.scenario.model_of(index)
        return self._bundle(spec, algorithm.objective, algorithm, "edge" if algorithm.split else None)

    def centre(self, algorithm: Algorithm) -> Bundle | None:
        """The bundle of the node in the middle, if it has a model."""
        if (objective := algorithm.centre_objective) is None:
            return None
        spec = self.world.scenario.model_of(0)
        return self._bundle(spec, objective, algorithm, "server" if algorithm.split else None)

    def _bundle(self, spec: str, objective: tuple[str, ...], algorithm: Algorithm, part: str | None) -> Bundle:
        runtime = self.world.scenario.runtime
        rows = ENGINES.load(runtime).rows(algorithm.rows(objective))
        if 0 in rows:
            raise ConfigError(
                f"engine: {runtime} wants to know the rows of a batch, which {algorithm.name} does not fix"
            )
        update = self._update(algorithm)
        key = (spec, objective, part, rows, update)
        if key not in self.exported:
            self.exported[key] = self._make(spec, objective, algorithm.name, part, rows, update)
        return self.exported[key]

    def _update(self, algorithm: Algorithm) -> Update:
        scenario = self.world.scenario
        if scenario.optimizer is not None:
            return Update(scenario.optimizer)
        official = ENGINES.load(scenario.runtime).official
        return Update() if official else Update(algorithm.update.optimizer, algorithm.update.clip_norm)

    def _make(
        self,
        spec: str,
        objective: tuple[str, ...],
        who: str,
        part: str | None,
        rows: tuple[int, ...],
        update: Update,
    ) -> Bundle:
        world, model, scenario = self.world, self.world.models[spec], self.world.scenario
        task = world.dataset.task
        if isinstance(model, Bundle):
            if part:
                raise ConfigError(f"{who} cuts a model in two, which a bundle no longer is; name the model itself")
            model.require(objective, who)
            if scenario.supervision is not None:
                raise ConfigError(f"supervision: {spec} is a bundle, which learns from labels as it was exported")
            bundle = model
        else:
            terms = " + ".join(task.objective(objective, scenario.supervision))
            if (learnt := task_of(parse(terms), task.name)) != task:
                raise ExportError(
                    f"supervision: {scenario.supervision} learns from labels of {learnt.name}, not {task.name}"
                )
            bundle = export(
                fitted(self._part(model, part) if part else model, objective),
                self.folder / f"bundle-{len(self.exported)}",
                objective=terms,
                optimizer=update,
                rows=rows,
                official=ENGINES.load(scenario.runtime).official,
            )
        tokens.require(bundle.manifest, spec, world.dataset.x_train, scenario.data)
        tokens.require(bundle.manifest, spec, world.dataset.x_test, scenario.data)
        tokens.require(bundle.manifest, spec, world.reference.x, f"reference {scenario.reference}")
        if bundle.manifest.job != task:
            raise ConfigError(f"{spec} is for {bundle.manifest.task}, and {scenario.data} for {task.name}")
        things = "classes" if task.classes else "outputs"
        if bundle.manifest.classes != world.dataset.classes:
            raise ConfigError(
                f"the model gives {bundle.manifest.classes} {things}, the data has {world.dataset.classes}; "
                f"choose another model, or export this one with as many outputs as the data has {things}"
            )
        return bundle

    def _part(self, whole: Model, part: str) -> Model:
        edge_model = self.world.models.get(None)
        if isinstance(edge_model, Bundle):
            raise ConfigError("edge_model: a bundle cannot be cut any more; name the model itself")
        scenario = self.world.scenario
        device, server = splits.split(whole, scenario.split_at or "", edge=edge_model, seed=scenario.seed)
        return device if part == "edge" else server


def fitted(model: Model, objective: tuple[str, ...]) -> Model:
    """The model with as many heads as the objective names, and an embedding where it asks for one."""
    count = max((int(n) for term in objective for n in re.findall(r",(\d+)\)", term)), default=0)
    if any(term.startswith("embedding_distance") for term in objective) and model.embedding is None:
        model = heads.embed(model, None)
    return heads.add(model, count) if count and not model.heads else model


def _tokens(specs: Iterable[str]) -> bool:
    """Whether the models take token numbers. Raises ConfigError: some do."""
    kinds = {spec: _takes_tokens(Path(spec)) for spec in specs}
    if len(set(kinds.values())) > 1:
        some = ", ".join(spec for spec, numbers in kinds.items() if numbers)
        raise ConfigError(f"model: all models of a scenario take the same samples; only {some} take token numbers")
    return any(kinds.values())


def _takes_tokens(path: Path) -> bool:
    if (path / MANIFEST).is_file():
        return edge.bundle.read(path).manifest.tokens
    return path.suffix == ".onnx" and path.is_file() and loading.load(path).dtype == "int64"


def _classes(specs: Iterable[str]) -> Classes | None:
    """The classes that the models' bundles declare by name; None if they declare none."""
    declared = {}
    for spec in specs:
        if (Path(spec) / MANIFEST).is_file():
            manifest = edge.bundle.read(Path(spec)).manifest
            declared[manifest.class_names] = Classes(
                manifest.classes, manifest.class_names or (), f"the bundle {spec}", manifest.job
            )
    if len(declared) > 1:
        both = "; ".join(f"{classes.origin} has {classes}" for classes in declared.values())
        raise ConfigError(f"model: all models of a scenario need the same class names; {both}")
    return next((classes for names, classes in declared.items() if names or not classes.task.simplex), None)


def _model(spec: str, scenario: Scenario, dataset: data.Dataset) -> Model | Bundle:
    kind, _, rest = spec.partition(":")
    if kind == "zoo":
        shape = dataset.x_train.shape[1:]
        model = zoo.build(rest, shape=shape, classes=dataset.classes, seed=scenario.seed)
        return replace(model, task=dataset.task.name)
    path = Path(spec)
    if path.is_dir():
        return edge.bundle.read(path)
    if path.suffix == ".onnx":
        return outputs.meant(
            loading.load(path, task=dataset.task.name), "isolated", dataset.task.name, dataset.classes
        )[0]
    raise ConfigError(f"model '{spec}' is neither zoo:NAME, nor a bundle's folder, nor a .onnx file")


def _standardized(
    models: Mapping[str | None, Model | Bundle], reference: Array, scenario: Scenario
) -> tuple[dict[str | None, Model | Bundle], tuple[str, ...]]:
    """The models, their input scaled as the scenario says, and notes of that."""
    wrong = ill_scaled(reference)
    auto, floats = scenario.standardize == "auto", reference.dtype.kind == "f"
    origin = f"the reference set ({scenario.reference} of {scenario.data})"
    scaled, notes = dict(models), list[str]()
    for key, model in models.items():
        if isinstance(model, Bundle):
            plain = model.manifest.standardization is None and model.manifest.backbone is None
            if wrong and plain:
                notes.append(f"{scenario.data} has {wrong}, and {key} does not scale it: {HOW}")
        elif scenario.standardize == "always" or (auto and floats and not takes_tokens(model)):
            scaled[key] = chosen = standardize(model, reference, origin)
            notes += chosen.notes[len(model.notes) :]
        elif wrong:
            notes.append(f"{scenario.data} has {wrong}, and {key} is trained on it as it is (standardize: never)")
    return scaled, tuple(dict.fromkeys(notes))


def _featured(fleet: FleetData, models: Sequence[Model | Bundle]) -> FleetData:
    """The data as the models take them: what their backbone makes of them, if they have one."""
    bundles = [m for m in models if isinstance(m, Bundle) and m.manifest.backbone]
    if not bundles:
        return fleet
    first = bundles[0]
    digest = first.manifest.digests[BACKBONE]
    if len(bundles) < len(models) or any(b.manifest.digests[BACKBONE] != digest for b in bundles):
        raise ConfigError("model: all models of a scenario need the same backbone, or none")
    return fleet.featured(first, threads=1)


def _fitted(fleet: FleetData, shape: tuple[int, ...], scenario: Scenario) -> FleetData:
    """The data in the model's input shape: as it is, or flattened for a model that takes vectors."""
    dataset, reference = fleet.dataset, fleet.reference
    have = dataset.x_train.shape[1:]
    if have == shape:
        return fleet
    if len(shape) == 1 and int(np.prod(have)) == shape[0]:
        flat = {k: getattr(dataset, k).reshape(-1, shape[0]) for k in ("x_train", "x_test")}
        reference = replace(reference, x=reference.x.reshape(-1, shape[0]))
        return replace(fleet, dataset=replace(dataset, **flat), reference=reference)
    raise DataError(f"model {scenario.model} takes samples of {list(shape)}; {scenario.data} has {list(have)}")
