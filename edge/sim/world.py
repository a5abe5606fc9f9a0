"""What all protocols of a scenario share: data, its division, the reference set, the graph, the bundle."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import edge.bundle
from edge import data, mixing, split, topology
from edge.bundle import Bundle
from edge.errors import ConfigError, DataError
from edge.interfaces import Array, NodeId
from edge.sim.scenario import Scenario
from export import model, zoo
from export.model import Model
from export.write import export


@dataclass(frozen=True)
class World:
    """shares: per device, its rows of the training part. weights: W, by device and neighbour."""

    dataset: data.Dataset
    reference_x: Array
    reference_digest: bytes
    shares: tuple[Array, ...]
    names: tuple[NodeId, ...]
    topology: topology.Topology
    weights: dict[NodeId, dict[NodeId, float]]
    model: Model | Bundle

    @property
    def spectral_gap(self) -> float:
        """1 - the second largest |eigenvalue| of W."""
        return mixing.spectral_gap(mixing.matrix(self.weights, self.names))


def build(scenario: Scenario) -> World:
    """Load, divide and check everything, before anything runs.

    Raises:
        ConfigError, DataError, ExportError, BundleError: what does not fit, and with what.
    """
    names = tuple(f"device-{i:0{len(str(scenario.devices - 1))}}" for i in range(scenario.devices))
    graph = topology.build(scenario.topology, names, scenario.seed)
    whole = data.load(scenario.data, scenario.seed)
    reference, private = data.take_reference(scenario.reference, whole, scenario.seed)
    shares = split.divide(scenario.split, private.y_train, private.columns, scenario.devices, scenario.seed)
    trained = _model(scenario, private)
    shape = trained.manifest.shape if isinstance(trained, Bundle) else trained.shape
    private, reference_x = _fitted(private, reference.x, shape, scenario)
    return World(
        dataset=private,
        reference_x=reference_x,
        reference_digest=reference.digest,
        shares=tuple(shares),
        names=names,
        topology=graph,
        weights=mixing.metropolis(graph),
        model=trained,
    )


def bundle(world: World, objective: tuple[str, ...], optimizer: str, folder: Path, who: str) -> Bundle:
    """The world's model, exported for `objective` (or, given as a bundle, checked against it)."""
    if isinstance(world.model, Bundle):
        world.model.require(objective, who)
        found = world.model
    else:
        found = export(world.model, folder, objective=" + ".join(objective), optimizer=optimizer)
    if found.manifest.classes != world.dataset.classes:
        raise ConfigError(
            f"the model gives {found.manifest.classes} classes, the data has {world.dataset.classes}; "
            "choose another model, or export this one with as many outputs as the data has classes"
        )
    return found


def _model(scenario: Scenario, dataset: data.Dataset) -> Model | Bundle:
    kind, _, rest = scenario.model.partition(":")
    if kind == "zoo":
        shape = dataset.x_train.shape[1:]
        return zoo.build(rest, shape=shape, classes=dataset.classes, seed=scenario.seed)
    path = Path(scenario.model)
    if path.is_dir():
        return edge.bundle.read(path)
    if path.suffix == ".onnx":
        return model.load(path)
    raise ConfigError(f"model '{scenario.model}' is neither zoo:NAME, nor a bundle's folder, nor a .onnx file")


def _fitted(
    dataset: data.Dataset, reference_x: Array, shape: tuple[int, ...], scenario: Scenario
) -> tuple[data.Dataset, Array]:
    """The data in the model's input shape: as it is, or flattened for a model that takes vectors."""
    have = dataset.x_train.shape[1:]
    if have == shape:
        return dataset, reference_x
    if len(shape) == 1 and int(np.prod(have)) == shape[0]:
        flat = {k: getattr(dataset, k).reshape(-1, shape[0]) for k in ("x_train", "x_test")}
        return replace(dataset, **flat), reference_x.reshape(-1, shape[0])
    raise DataError(f"model {scenario.model} takes samples of {list(shape)}; {scenario.data} has {list(have)}")
