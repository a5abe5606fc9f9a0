"""Sessions over the training artifacts: opened, given values without a copy, and run."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnxruntime as ort

from edge.interfaces import Array
from edge.ort_training.names import FACTS

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

    def run(
        self, feeds: Mapping[str, Array | ort.OrtValue], targets: Mapping[str, Array] | None = None
    ) -> dict[str, ort.OrtValue]:
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
        try:
            if any(isinstance(value, np.ndarray) and value.dtype.kind in TEXTS for value in feeds.values()):
                return self._run_unbound(feeds, targets)
            binding = self.session.io_binding()
            for name, value in feeds.items():
                if isinstance(value, ort.OrtValue):
                    binding.bind_ortvalue_input(name, value)
                else:
                    binding.bind_cpu_input(name, value)
            for name in self.outputs:
                if name in targets:
                    binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(targets[name]))
                else:
                    binding.bind_output(name, "cpu")
            self.session.run_with_iobinding(binding)
        except Exception as reason:  # the runtime's errors have no public base class
            raise RuntimeError(f"{self.path}: {_brief(reason)}") from None
        results = dict(zip(self.outputs, binding.get_outputs(), strict=True))
        return {name: value for name, value in results.items() if name not in targets}

    def _run_unbound(
        self, feeds: Mapping[str, Array | ort.OrtValue], targets: Mapping[str, Array]
    ) -> dict[str, ort.OrtValue]:
        """`run` for texts, to which the runtime binds nothing: every value is copied."""
        arrays = {k: v.numpy() if isinstance(v, ort.OrtValue) else v for k, v in feeds.items()}
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
    try:
        session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as reason:  # likewise
        raise RuntimeError(f"onnxruntime {ort.__version__} cannot load {file}: {_brief(reason)}; {GENERATE}") from None
    facts = session.get_modelmeta().custom_metadata_map.get(FACTS)
    if facts is None:
        raise RuntimeError(f"{file} is no training artifact of ours; {GENERATE}")
    return Graph(file, session, json.loads(facts))


def _brief(reason: Exception) -> str:
    lines = str(reason).splitlines()
    return lines[0] if lines else type(reason).__name__
