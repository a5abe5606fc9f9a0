"""What a checkpoint holds, and its file: safetensors with a description in the file's metadata.

    parameters/NAME              a parameter; none in a nominal checkpoint
    first_order_moments/NAME     of the optimizer, where its state was saved; second_order_moments/NAME likewise
    metadata["ort_training"]     JSON: the parameters in the model's order with shapes, dtypes and whether each is
                                 trained; properties; the optimizer's step; whether the checkpoint is nominal

All trained parameters are views of one float32 buffer, which an optimizer takes as one vector.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save

from edge.interfaces import Array
from edge.storage import atomic, tensor_file

Property = int | float | str
KEY, VERSION = "ort_training", 1
PARAMETERS = "parameters/"


@dataclass(frozen=True)
class ParameterInfo:
    """What a nominal checkpoint knows of a parameter."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    requires_grad: bool


class FlatTensors:
    """Float32 tensors that lie one after the other in one buffer, zero at first.

    Args:
        shapes: by name.

    Examples:
        >>> tensors = FlatTensors({"weight": (2, 2), "bias": (2,)})
        >>> tensors.views["bias"][...] = 1
        >>> tensors.buffer.tolist()
        [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        sizes = [prod(shape) for shape in shapes.values()]
        self.buffer = np.zeros(sum(sizes), np.float32)
        parts = np.split(self.buffer, np.cumsum(sizes)[:-1])
        self.views = {name: part.reshape(shapes[name]) for name, part in zip(shapes, parts, strict=True)}


@dataclass
class TrainingState:
    """A model's parameters, their gradients, the optimizer's moments and the user's properties.

    Attributes:
        infos: the parameters, in the model's order.
        nominal: whether their values are not known yet.
        step: how many steps the optimizer has taken.
        moments: of the optimizer, one vector each over all trained parameters.
        gradients: of the trained parameters, once a module computes them.
    """

    infos: Mapping[str, ParameterInfo]
    nominal: bool = False
    properties: dict[str, Property] = field(default_factory=dict)
    step: int = 0
    moments: dict[str, Array] = field(default_factory=dict)
    gradients: FlatTensors | None = None

    def __post_init__(self) -> None:
        self.trained = self.flat()
        frozen = {i.name: np.zeros(i.shape, i.dtype) for i in self.infos.values() if not i.requires_grad}
        self.values: dict[str, Array] = {name: (self.trained.views | frozen)[name] for name in self.infos}

    def flat(self) -> FlatTensors:
        """Zeros in the shapes of the trained parameters."""
        return FlatTensors({i.name: i.shape for i in self.infos.values() if i.requires_grad})

    def names(self, *, trainable_only: bool) -> list[str]:
        """The parameters, in the model's order."""
        return [i.name for i in self.infos.values() if i.requires_grad or not trainable_only]

    def set(self, name: str, value: Array) -> None:
        """Replace a parameter's value. Raises RuntimeError: it has another shape or dtype."""
        info, given = self.infos[name], np.asarray(value)
        if given.shape != info.shape or given.dtype != info.dtype:
            raise RuntimeError(
                f"parameter {name} is {info.dtype} {list(info.shape)}; it was given {given.dtype} {list(given.shape)}"
            )
        self.values[name][...] = given

    def demand(self) -> None:
        """Make sure that the values are known. Raises RuntimeError: the state is nominal."""
        if self.nominal:
            raise RuntimeError(
                "the state is of a nominal checkpoint and has no values yet; give it some with "
                "Module.copy_buffer_to_parameters(buffer, trainable_only=False)"
            )


def state_of(values: Mapping[str, Array], trained: Iterable[str]) -> TrainingState:
    """The state that training starts with.

    Args:
        values: all parameters, in the model's order.
        trained: the names of those that are trained, all float32.

    Returns:
        A state without properties and moments.
    """
    names = frozenset(trained)
    infos = {k: ParameterInfo(k, v.shape, v.dtype.name, k in names) for k, v in values.items()}
    state = TrainingState(infos)
    for name, value in values.items():
        state.set(name, value)
    return state


def write(state: TrainingState, path: Path, *, nominal: bool = False, optimizer: bool = False) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        state: what is in it.
        path: of the file.
        nominal: leave the values out.
        optimizer: save its moments and step, too.

    Raises:
        OSError: the file cannot be written.
    """
    nominal = nominal or state.nominal
    tensors = {} if nominal else {PARAMETERS + name: value for name, value in state.values.items()}
    if optimizer and not nominal:
        for kind, moment in state.moments.items():
            held = state.flat()
            held.buffer[...] = moment
            tensors |= {f"{kind}/{name}": view for name, view in held.views.items()}
    facts = {
        "version": VERSION,
        "parameters": [vars(info) for info in state.infos.values()],
        "properties": state.properties,
        "nominal": nominal,
        "step": state.step if optimizer else 0,
        "moments": list(state.moments) if optimizer and not nominal else [],
    }
    atomic.write_bytes(path, save(tensors, metadata={KEY: json.dumps(facts)}))


def read(path: Path) -> TrainingState:
    """Read a checkpoint.

    Args:
        path: of the file.

    Returns:
        What is in it.

    Raises:
        RuntimeError: there is none, it is damaged, or it is one of onnxruntime-training's own.
    """
    if not path.is_file():
        raise RuntimeError(f"no checkpoint at {path}")
    try:
        tensors, metadata = tensor_file.read(path)
        facts = json.loads(metadata[KEY])
        if facts["version"] != VERSION:
            raise RuntimeError(f"{path} is of version {facts['version']}; this release reads version {VERSION}")
        return _state(facts, tensors)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as reason:
        raise RuntimeError(
            f"{path} is not a checkpoint of export.artifacts, or is damaged ({reason}); one of onnxruntime-training "
            "cannot be read: generate the artifacts again from the model"
        ) from None


def _state(facts: dict[str, Any], tensors: Mapping[str, Array]) -> TrainingState:
    infos = {i["name"]: ParameterInfo(**{**i, "shape": tuple(i["shape"])}) for i in facts["parameters"]}
    state = TrainingState(infos, bool(facts["nominal"]), dict(facts["properties"]), int(facts["step"]))
    for name in () if state.nominal else infos:
        state.set(name, tensors[PARAMETERS + name])
    for kind in facts["moments"]:
        held = state.flat()
        for name, view in held.views.items():
            view[...] = tensors[f"{kind}/{name}"]
        state.moments[kind] = held.buffer
    return state
