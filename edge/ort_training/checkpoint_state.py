"""The state of training as a user sees it: parameters and properties by name, saved to a file and loaded from it."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge.interfaces import Array
from edge.ort_training import state as states
from edge.ort_training.state import Property, TrainingState

INT64 = range(-(2**63), 2**63)


class NamedParameter:
    """A parameter of the model, as `CheckpointState.parameters` gives it.

    Attributes:
        name: as in the model.
    """

    def __init__(self, name: str, state: TrainingState) -> None:
        self.name = name
        self._state = state

    @property
    def data(self) -> Array:
        """Return the value itself, which the next step changes; an array of its shape and dtype may be assigned."""
        return self._state.values[self.name]

    @data.setter
    def data(self, value: Array) -> None:
        self._state.set(self.name, value)

    @property
    def grad(self) -> Array | None:
        """Return the gradient itself; None before there is a module, and of a frozen parameter."""
        if self._state.gradients is None or not self.requires_grad:
            return None
        return self._state.gradients.views[self.name]

    @property
    def requires_grad(self) -> bool:
        """Whether the parameter is trained."""
        return self._state.infos[self.name].requires_grad

    def __repr__(self) -> str:
        return f"Parameter(name={self.name}, requires_grad={self.requires_grad})"


class ParameterMap:
    """All parameters of the model by name; iterating yields pairs of name and parameter."""

    def __init__(self, state: TrainingState) -> None:
        self._state = state

    def __getitem__(self, name: str) -> NamedParameter:
        self._demand(name)
        self._state.demand()
        return NamedParameter(name, self._state)

    def __setitem__(self, name: str, value: Array) -> None:
        self._demand(name)
        self._state.demand()
        self._state.set(name, value)

    def __contains__(self, name: object) -> bool:
        return name in self._state.infos

    def __iter__(self) -> Iterator[tuple[str, NamedParameter]]:
        self._state.demand()
        return ((name, NamedParameter(name, self._state)) for name in sorted(self._state.infos))

    def __len__(self) -> int:
        return len(self._state.infos)

    def __repr__(self) -> str:
        return repr(sorted(self._state.infos))

    def _demand(self, name: str) -> None:
        if name not in self:
            raise KeyError(f"Parameter {name} not found.")


class PropertyMap:
    """What the user keeps in the checkpoint, by name; iterating yields pairs of name and value.

    A value is an integer of 64 bits, a number of single precision, or a text.
    """

    def __init__(self, state: TrainingState) -> None:
        self._values = state.properties

    def __getitem__(self, name: str) -> Property:
        if name not in self._values:
            raise KeyError(f"Property {name} not found.")
        return self._values[name]

    def __setitem__(self, name: str, value: Property) -> None:
        self._values[name] = _stored(name, value)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[tuple[str, Property]]:
        return iter(sorted(self._values.items()))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(sorted(self._values))


def _stored(name: str, value: Property) -> Property:
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer) and int(value) in INT64:
        return int(value)
    if isinstance(value, float | np.floating):
        return float(np.float32(value))
    raise TypeError(f"property {name}: expected an int of 64 bits, a float or a str, got {value!r}")


class CheckpointState:
    """The state of training: parameters, gradients, the optimizer's moments, and properties of the user's own.

    `load_checkpoint` makes one; a `Module` and an `Optimizer` then work on it.

    Attributes:
        state: what they share.
        parameters: by name.
        properties: by name.
    """

    def __init__(self, state: TrainingState) -> None:
        if not isinstance(state, TrainingState):
            raise TypeError(f"Invalid argument for CheckpointState received {type(state)}")
        self.state = state
        self.parameters = ParameterMap(state)
        self.properties = PropertyMap(state)

    @classmethod
    def load_checkpoint(cls, checkpoint_uri: str | os.PathLike[str]) -> "CheckpointState":
        """Load a checkpoint, a complete or a nominal one.

        Args:
            checkpoint_uri: the file.

        Returns:
            The state.

        Raises:
            RuntimeError: there is no such file, or it is no checkpoint of ours.
        """
        return cls(states.read(Path(checkpoint_uri)))

    @classmethod
    def save_checkpoint(
        cls, state: "CheckpointState", checkpoint_uri: str | os.PathLike[str], include_optimizer_state: bool = False
    ) -> None:
        """Save a checkpoint, whole or not at all.

        Args:
            state: what is saved.
            checkpoint_uri: the file.
            include_optimizer_state: also save moments and step, with which training goes on as if it had not ended.

        Raises:
            OSError: the file cannot be written.
        """
        states.write(state.state, Path(checkpoint_uri), optimizer=include_optimizer_state)
