"""Split a model in two: a device's part up to a value, and a server's part from there (He et al. 2020, FedGKT).

The device has the layers up to the value, the features, and a classifier of its own on them; the server takes features.
The two are trained separately, each a bundle of its own.
"""

from dataclasses import replace

import numpy as np
import onnx

from export.errors import ExportError
from export.graph.builder import Value
from export.graph.prune import prune
from export.model import Model
from export.training.placement import sample_shape
from export.transforms.heads import find, with_classifier


def split(model: Model, at: str, *, edge: Model | None = None, seed: int = 0) -> tuple[Model, Model]:
    """Cut a model at a value.

    Args:
        model: the whole model.
        at: the value or node whose output the server will take.
        edge: another model for the device, which must have a value of that name and shape. Otherwise the device gets
            the layers before the cut, and a linear layer on their averaged output.
        seed: of that layer's initial values.

    Returns:
        (the device's model, the server's model).

    Raises:
        ExportError: no such value, a path around it, or features that do not fit.
    """
    features = find(model, at, "--split-at")
    shape = sample_shape(model, features)
    server = _server(model, features, shape)
    if edge is None:
        device = _pruned(replace(model, nodes=tuple(prune(model.nodes, [features])), output=features))
        (classes,) = sample_shape(model, model.output)
        device, logits = with_classifier(device, features, classes, "classifier", np.random.default_rng(seed))
        return replace(device, name=f"{model.name}-edge", output=logits, heads=(), embedding=features), server
    value = find(edge, at, "--split-at (in the --edge model)")
    if (edge_shape := sample_shape(edge, value)) != shape or edge.shape != model.shape:
        raise ExportError(
            f"--split-at {at}: the --edge model reads {list(edge.shape)} and gives {list(edge_shape)} there; "
            f"the other one {list(model.shape)} and {list(shape)}"
        )
    return replace(edge, embedding=value), server


def _server(model: Model, features: Value, shape: tuple[int, ...]) -> Model:
    """The nodes after the cut."""
    after: list[onnx.NodeProto] = []
    needed = {model.output, *model.heads}
    for node in reversed(model.nodes):
        if needed.intersection(node.output) - {features}:
            needed.update(node.input)
            after.insert(0, node)
    if needed & {x.name for x in model.inputs} or features not in needed:
        raise ExportError(f"'{features}' does not cut the model in two: a path leads around it; choose a later value")
    server = replace(model, name=f"{model.name}-server", nodes=tuple(after), input=features, shape=shape)
    server = replace(server, dtype="float32", others=())
    return _pruned(replace(server, embedding=None, standardization=None))


def _pruned(model: Model) -> Model:
    """The model without the parameters and constants that no node reads."""
    read = {x for node in model.nodes for x in node.input}
    if not any(model.trains(k) for k in model.parameters if k in read):
        raise ExportError(f"{model.name}: no parameter to train is left on one side of the cut; choose another value")
    return replace(
        model,
        parameters={k: v for k, v in model.parameters.items() if k in read},
        constants={k: v for k, v in model.constants.items() if k in read},
        statistics=frozenset(model.statistics & read),
    )
