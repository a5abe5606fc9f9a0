"""A model in training: its loss and gradients batch by batch, and its loss alone."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from edge.interfaces import Array
from edge.ort_training.checkpoint_state import CheckpointState
from edge.ort_training.names import GRADIENT, UPDATED
from edge.ort_training.sessions import Graph, Value, opened, owned
from edge.ort_training.state import FlatTensors
from edge.storage import atomic, onnx_file

SEED = 0
"""of the masks of Dropout"""


class Module:
    """A model in training, over the artifacts that `export.artifacts.generate_artifacts` wrote.

    Args:
        train_model_uri: the training model.
        state: parameters and gradients, which the module shares with whoever else has the state.
        eval_model_uri: the evaluation model, if the module is to evaluate or to export.
        device: "cpu".
        session_options: of the runtime's sessions.

    Attributes:
        training: whether a call computes gradients; `train` and `eval` set it.

    Raises:
        RuntimeError: another device, a file that cannot be loaded, or a checkpoint of another model.
    """

    def __init__(
        self,
        train_model_uri: str | os.PathLike[str],
        state: CheckpointState,
        eval_model_uri: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        session_options: ort.SessionOptions | None = None,
    ) -> None:
        if device.partition(":")[0] != "cpu":
            raise RuntimeError(f"device '{device}': training runs on the CPU only; leave device out")
        self.training = True
        self.state = state.state
        self.session_options = session_options or ort.SessionOptions()
        self._train = opened(train_model_uri, self.session_options)
        self._eval = None if eval_model_uri is None else opened(eval_model_uri, self.session_options)
        for graph in filter(None, (self._train, self._eval)):
            self._check(graph)
        if self.state.gradients is None:
            self.state.gradients = self.state.flat()
        self._accumulating = False
        self._latest: FlatTensors | None = None
        self._random = np.random.default_rng([SEED, self.state.step])

    def __call__(self, *user_inputs: Value) -> Any:
        """Compute the loss of a batch; in training mode, also add its gradients to those of the parameters.

        Args:
            user_inputs: the values of `input_names`, as arrays or as values of the runtime.

        Returns:
            The values of `output_names`, one or a tuple: arrays where an input was an array, otherwise values of the
            runtime.

        Raises:
            RuntimeError: not as many inputs as `input_names`, of other shapes or dtypes, or a nominal state.
        """
        self.state.demand()
        feeds = dict(zip(self.input_names(), self._checked(user_inputs), strict=True))
        outputs = self._train_step(feeds) if self.training else self._mode.run(feeds | self._parameters(self._mode))
        values = [outputs[name] for name in self.output_names()]
        if any(isinstance(value, np.ndarray) for value in user_inputs):
            values = [np.array(value.numpy(), copy=True) for value in values]
        return values[0] if len(values) == 1 else tuple(values)

    def train(self, mode: bool = True) -> "Module":
        """Set whether a call trains; return the module."""
        self.training = mode
        return self

    def eval(self) -> "Module":
        """Set that calls evaluate; return the module."""
        return self.train(False)

    def lazy_reset_grad(self) -> None:
        """Let the next training step replace the gradients instead of adding to them."""
        self._accumulating = False

    def input_names(self) -> list[str]:
        """Return what a call takes, in this mode."""
        names: list[str] = self._mode.facts["inputs"]
        return names

    def output_names(self) -> list[str]:
        """Return what a call gives, in this mode: the loss first."""
        names: list[str] = self._mode.facts["outputs"]
        return names

    def get_parameters_size(self, trainable_only: bool = True) -> int:
        """Return how many numbers the parameters have, all of them or those that are trained."""
        return sum(self.state.values[name].size for name in self.state.names(trainable_only=trainable_only))

    def get_contiguous_parameters(self, trainable_only: bool = False) -> ort.OrtValue:
        """Copy the parameters, in the model's order, into one float32 vector of the runtime.

        Args:
            trainable_only: only those that are trained.

        Returns:
            The vector.

        Raises:
            RuntimeError: a nominal state, or a parameter that is not float32.
        """
        self.state.demand()
        parts = [self._float32(name).ravel() for name in self.state.names(trainable_only=trainable_only)]
        return owned(np.concatenate(parts))

    def copy_buffer_to_parameters(self, buffer: Any, trainable_only: bool = True) -> None:
        """Copy a vector, as `get_contiguous_parameters` gives it, into the parameters; this completes a nominal state.

        Args:
            buffer: the vector, a value of the runtime.
            trainable_only: it has only the parameters that are trained.

        Raises:
            RuntimeError: it has another length, or a nominal state is given the trained parameters only.
        """
        if self.state.nominal and trainable_only:
            raise RuntimeError("a nominal state needs all parameters: give them with trainable_only=False")
        vector, size = np.asarray(buffer.numpy()), self.get_parameters_size(trainable_only)
        if vector.shape != (size,) or vector.dtype != np.float32:
            raise RuntimeError(f"expected a float32 vector of {size}, got {vector.dtype} {list(vector.shape)}")
        start = 0
        for name in self.state.names(trainable_only=trainable_only):
            value = self._float32(name)
            value[...] = vector[start : start + value.size].reshape(value.shape)
            start += value.size
        self.state.nominal = False

    def export_model_for_inferencing(
        self, inference_model_uri: str | os.PathLike[str], graph_output_names: Sequence[str]
    ) -> None:
        """Write the model as it is trained now, with its parameters inside, whole or not at all.

        Args:
            inference_model_uri: the file.
            graph_output_names: the values that it is to give, by their names in the original model.

        Raises:
            RuntimeError: there is no evaluation model, a nominal state, or no such value.
            OSError: the file cannot be written.
        """
        if self._eval is None:
            raise RuntimeError("the inference model is made of the evaluation model: give Module its eval_model_uri")
        self.state.demand()
        try:
            model = onnx_file.extract(Path(self._eval.path).read_bytes(), graph_output_names, self.state.values)
        except (KeyError, ValueError) as reason:
            raise RuntimeError(f"{self._eval.path}: {reason.args[0]}") from None
        atomic.write_bytes(Path(inference_model_uri), model)

    @property
    def _mode(self) -> Graph:
        if self.training:
            return self._train
        if self._eval is None:
            raise RuntimeError("there is no evaluation model: give Module its eval_model_uri")
        return self._eval

    def _train_step(self, feeds: dict[str, Value]) -> dict[str, ort.OrtValue]:
        assert self.state.gradients is not None
        if self._accumulating and self._latest is None:
            self._latest = self.state.flat()
        latest = self._latest if self._accumulating and self._latest else self.state.gradients
        statistics = {output: np.empty_like(self.state.values[k]) for k, output in self._statistics.items()}
        targets = {name + GRADIENT: view for name, view in latest.views.items()} | statistics
        outputs = self._train.run(feeds | self._parameters(self._train) | self._masks(feeds), targets)
        if self._accumulating:
            self.state.gradients.buffer += latest.buffer
        for name, output in self._statistics.items():
            self.state.values[name][...] = statistics[output]
        self._accumulating = True
        return outputs

    @property
    def _statistics(self) -> dict[str, str]:
        """Running means and variances, and the outputs that are their next values."""
        return {name: UPDATED + name for name in self._train.facts["statistics"]}

    def _parameters(self, graph: Graph) -> dict[str, Array]:
        return {name: value for name, value in self.state.values.items() if name in graph.inputs}

    def _masks(self, feeds: dict[str, Value]) -> dict[str, Array]:
        """Of Dropout: 0, or 1 / the share that is kept."""
        masks: dict[str, Array] = {}
        for name, keep in self._train.facts["noise"].items():
            first = next(iter(feeds.values()))
            rows = first.shape()[0] if isinstance(first, ort.OrtValue) else len(first)
            kept = self._random.random((rows, *map(int, self._train.inputs[name][1:])), np.float32) < keep
            masks[name] = kept.astype(np.float32) / np.float32(keep)
        return masks

    def _checked(self, user_inputs: Sequence[Value]) -> list[Value]:
        names = self.input_names()
        if len(user_inputs) != len(names):
            raise RuntimeError(f"expected {len(names)} inputs ({', '.join(names)}), got {len(user_inputs)}")
        return [v if isinstance(v, ort.OrtValue) else np.ascontiguousarray(v).reshape(np.shape(v)) for v in user_inputs]

    def _check(self, graph: Graph) -> None:
        """Raises RuntimeError: the checkpoint is of another model."""
        known = {*graph.facts["inputs"], *graph.facts["noise"]}
        for name, shape in graph.inputs.items():
            if name in known:
                continue
            if name not in self.state.infos:
                raise RuntimeError(f"{graph.path} has a parameter {name}, of which the checkpoint has nothing")
            if (own := list(self.state.infos[name].shape)) != list(shape):
                raise RuntimeError(f"{graph.path} has {name} {list(shape)}; the checkpoint has {own}")
        gradients = {name.removesuffix(GRADIENT) for name in graph.outputs if name.endswith(GRADIENT)}
        if graph is self._train and not gradients >= self.state.trained.views.keys():
            missing = ", ".join(sorted(self.state.trained.views.keys() - gradients))
            raise RuntimeError(f"{graph.path} does not train {missing}, which the checkpoint says is trained")

    def _float32(self, name: str) -> Array:
        value = self.state.values[name]
        if value.dtype != np.float32:
            raise RuntimeError(f"parameter {name} is {value.dtype}: it does not fit into a float32 vector")
        return value
