"""Sessions over the training artifacts: opened, given values without a copy, and run."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort

from edge.interfaces import Array
from edge.ort_training.names import FACTS

Value: TypeAlias = Array | ort.OrtValue
TEXTS = "OSU"
"""kinds of arrays"""
GENERATE = "make the artifacts with export.artifacts.generate_artifacts"


@dataclass(frozen=True)
class Graph:
    """One of the artifacts, ready to run.

    Attributes:
        path: its file.
        session: of the runtime.
        facts: what its metadata say (`FACTS`).
    """

    path: str
    session: ort.InferenceSession
    facts: Mapping[str, Any]

    @cached_property
    def inputs(self) -> dict[str, list[Any]]:
        """The shapes of all inputs, by name."""
        return {i.name: i.shape for i in self.session.get_inputs()}

    @cached_property
    def outputs(self) -> list[str]:
        """The names of all outputs."""
        return [o.name for o in self.session.get_outputs()]

    def run(self, feeds: Mapping[str, Value], targets: Mapping[str, Array] | None = None) -> dict[str, ort.OrtValue]:
        """Execute the graph.

        Args:
            feeds: a value for each input.
            targets: float32 arrays that some outputs are written into, by the outputs' names.

        Returns:
            The other outputs, by name.

        Raises:
            RuntimeError: the runtime refuses the values.
        """
        targets = targets or {}
        if any(isinstance(value, np.ndarray) and value.dtype.kind in TEXTS for value in feeds.values()):
            return self._run_unbound(feeds, targets)
        binding = self.bound(feeds, targets)
        self.execute(binding)
        results = dict(zip(self.outputs, binding.get_outputs(), strict=True))
        return {name: value for name, value in results.items() if name not in targets}

    def bound(self, feeds: Mapping[str, Value], targets: Mapping[str, Array]) -> ort.IOBinding:
        """Bind values, as `run` takes them, once for many executions; the caller keeps the arrays."""
        binding = self.session.io_binding()
        with _runtime_errors(self.path):
            for name, value in feeds.items():
                binding.bind_ortvalue_input(name, value if isinstance(value, ort.OrtValue) else _shared(value))
            for name in self.outputs:
                if name in targets:
                    binding.bind_ortvalue_output(name, _shared(targets[name]))
                else:
                    binding.bind_output(name, "cpu")
        return binding

    def execute(self, binding: ort.IOBinding) -> None:
        """Execute the graph on what was bound. Raises RuntimeError: the runtime refuses the values."""
        with _runtime_errors(self.path):
            self.session.run_with_iobinding(binding)

    def _run_unbound(self, feeds: Mapping[str, Value], targets: Mapping[str, Array]) -> dict[str, ort.OrtValue]:
        """`run` for texts, to which the runtime binds nothing: every value is copied."""
        arrays = {k: v.numpy() if isinstance(v, ort.OrtValue) else v for k, v in feeds.items()}
        with _runtime_errors(self.path):
            results = dict(zip(self.outputs, self.session.run(self.outputs, arrays), strict=True))
        for name, target in targets.items():
            target[...] = results.pop(name)
        return {name: owned(np.asarray(value)) for name, value in results.items()}


def owned(array: Array) -> ort.OrtValue:
    """Copy an array into memory of the runtime."""
    value = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), array.dtype.type)
    value.update_inplace(np.ascontiguousarray(array))
    return value


def opened(path: str | os.PathLike[str], options: ort.SessionOptions) -> Graph:
    """Open one of the artifacts. Raises RuntimeError: the runtime cannot, or it is none of ours."""
    file = os.fspath(path)
    with _runtime_errors(f"onnxruntime {ort.__version__} cannot load {file} ({GENERATE})"):
        session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map.get(FACTS)
    if facts is None:
        raise RuntimeError(f"{file} is no training artifact of ours; {GENERATE}")
    return Graph(file, session, json.loads(facts))


def _shared(array: Array) -> ort.OrtValue:
    """The same memory; valid as long as the array."""
    return ort.OrtValue.ortvalue_from_numpy(array)


@contextmanager
def _runtime_errors(place: str) -> Iterator[None]:
    """Turn what the runtime raises, which has no public base class, into a RuntimeError of one line."""
    try:
        yield
    except Exception as reason:
        lines = str(reason).splitlines() or [type(reason).__name__]
        raise RuntimeError(f"{place}: {lines[0]}") from None
