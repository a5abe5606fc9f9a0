"""The training step on stock ONNX Runtime.

Parameters and state live in two sets of buffers that the runtime owns: a step reads one set and
writes the other, then they change places (frozen parameters are in both). A batch is copied into
buffers that stay where they are (`_feed`), so all is bound once, and again only when a batch has
other shapes. Nothing is allocated that the last step did not.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort  # noqa: TID251 - this is its engine's file

import edge.bundle as names
from edge.bundle import Bundle
from edge.engines import _checks as check
from edge.engines._base import Base
from edge.engines._feed import Feed
from edge.engines._session import Options, session
from edge.engines._tuning import tune, tuned
from edge.errors import EngineError
from edge.interfaces import Array, Engine, Floats, Metrics
from edge.specs import EngineSpec

__all__ = ["SPEC", "OnnxRuntime"]
BLOCK = 64
"""Rows that are predicted at once: of 1,024 rows a 16th of the activations, for 1.05 times the time with the small CNN,
0.9 to 1.0 with MobileNetV2, 1.0 to 1.3 with the GRU, 1.2 with an MLP of 0.8 ms (three runs)."""
OPTIMISED = "optimised"
"""folder of the graphs as the runtime optimised them, in a device's home"""


def create(bundle: Bundle, *, threads: int | None = None, seed: int = 0, home: Path | None = None) -> "OnnxRuntime":
    """An engine at the bundle's starting point. Engines of one bundle share their sessions.

    threads: as tuned, or 1, unless given. seed: of the masks of Dropout, where the bundle has any.
    home: the device's folder, for what is kept from one start to the next: what `edge-node tune` chose, and the
    optimised graphs.
    """
    options = (tuned(bundle, home) if home else None) or Options()
    if threads is not None:
        options = replace(options, threads=threads)
    cache = home / OPTIMISED if home and home.is_dir() else None  # a first start that fails leaves nothing behind
    return OnnxRuntime(bundle, options, seed=seed, cache=cache)


class OnnxRuntime(Base):
    """One device's parameters over sessions that may be shared. See `edge.interfaces.Engine`."""

    def __init__(
        self, bundle: Bundle, options: Options | None = None, *, seed: int = 0, cache: Path | None = None
    ) -> None:
        super().__init__(bundle, seed)
        manifest = bundle.manifest
        self._options, self._cache = options or Options(), cache
        self._train = session(bundle, "train.onnx", self._options, cache)
        start = check.start(bundle.parameters(), manifest)
        frozen = {
            names.PARAMETER + p.name: _owned(start[names.PARAMETER + p.name])
            for p in manifest.parameters
            if not (p.trainable or p.statistic)
        }
        self._buffers = [{k: frozen.get(k) or _owned(v) for k, v in start.items()} for _ in range(2)]
        self._frozen = frozen.keys()
        self._now = 0
        self._hyper = {k: _owned(np.float32(v)) for k, v in manifest.hyper.items()}
        self._hyper_values = dict(manifest.hyper)
        self._hyper_given: dict[str, float] = {}
        outputs = [o.name for o in self._train.get_outputs() if not o.name.startswith(names.NEXT)]
        self._scalars = np.zeros(len(outputs), np.float32)
        self._results = tuple(outputs)
        # The runtime writes into these numbers; reading them all is one call.
        results = {name: _shared(self._scalars[i : i + 1].reshape(())) for i, name in enumerate(outputs)}
        self._feed, self._noisy = Feed(manifest), bool(manifest.noise)
        self._rows = 0, 0
        self._bindings = [self._bound(old, new, results) for old, new in ((0, 1), (1, 0))]

    @cached_property
    def _predict(self) -> ort.InferenceSession:
        """Opened when it is first needed: a device may take many steps before it is asked anything."""
        return session(self.bundle, "predict.onnx", self._options, self._cache)

    def step(self, batch: Mapping[str, Array], **hyper: float) -> Metrics:
        """See `Engine.step`. Buffers change places only after a step whose loss and update are finite."""
        if self._feed.fill(batch):
            self._bind_feed()
        if self._noisy:
            self._feed.add(self._masks(batch))
        if hyper != self._hyper_given:
            self._set_hyper(hyper)
        _run(self._train, self._bindings[self._now])
        metrics = dict(zip(self._results, self._scalars.tolist()))  # noqa: B905 - as long as each other
        # Bundles of before 0.9 do not give the norm.
        finite = isfinite(metrics.pop(names.SQUARED_NORM, 0.0))
        if self._sound(metrics, finite=finite, rate=self._hyper_values.get("learning_rate")):
            self._now = 1 - self._now
        self._stepped(self._rows)
        return metrics

    def outputs(self, x: Array, *wanted: str) -> list[Floats]:
        """See `Engine.outputs`."""
        check.samples(self._manifest, x, wanted, [o.name for o in self._predict.get_outputs()])
        self.work["predict", len(x), 0] += 1
        binding = self._predict.io_binding()
        for name, buffer in self._buffers[self._now].items():
            if name.startswith(names.PARAMETER):
                binding.bind_ortvalue_input(name, buffer)
        blocks = []
        for start in range(0, max(len(x), 1), BLOCK):
            binding.bind_cpu_input("x", np.ascontiguousarray(x[start : start + BLOCK]))
            for name in wanted:
                binding.bind_output(name, "cpu")
            _run(self._predict, binding)
            # numpy() aliases memory that the runtime reuses.
            blocks.append([np.array(value.numpy(), copy=True) for value in binding.get_outputs()])
        return blocks[0] if len(blocks) == 1 else [np.concatenate(parts) for parts in zip(*blocks, strict=True)]

    def parameters(self) -> dict[str, Array]:
        """See `Engine.parameters`."""
        state = self.state()
        return {p.name: state[names.PARAMETER + p.name] for p in self._manifest.parameters}

    def state(self) -> dict[str, Array]:
        """See `Engine.state`; keys are "parameter/NAME" and "state/NAME"."""
        values = {k: np.array(v.numpy(), copy=True) for k, v in self._buffers[self._now].items()}
        return values | self._noise_state()

    def load_state(self, values: Mapping[str, Array]) -> None:
        """See `Engine.load_state`."""
        buffers = self._buffers[self._now]
        given, noise_step = self._without_noise(values)
        check.values(given, {k: tuple(v.shape()) for k, v in buffers.items()})
        self._noise_step = noise_step
        for name, value in given.items():
            buffers[name].update_inplace(np.ascontiguousarray(value))

    def _bound(self, old: int, new: int, results: Mapping[str, ort.OrtValue]) -> ort.IOBinding:
        binding = self._train.io_binding()
        for name, buffer in {**self._buffers[old], **self._hyper}.items():
            binding.bind_ortvalue_input(name, buffer)
        for name, buffer in results.items():
            binding.bind_ortvalue_output(name, buffer)
        for name, buffer in self._buffers[new].items():
            if name not in self._frozen:
                binding.bind_ortvalue_output(names.NEXT + name, buffer)
        return binding

    def _bind_feed(self) -> None:
        self._rows = check.rows(self._feed.arrays)
        for name, array in {**self._feed.arrays, **self._feed.masks}.items():
            value = _shared(array)
            for binding in self._bindings:
                binding.bind_ortvalue_input(name, value)

    def _set_hyper(self, given: Mapping[str, float]) -> None:
        for name, value in check.hyper(self._manifest, given).items():
            if value != self._hyper_values[name]:
                self._hyper[name].update_inplace(np.array(value, np.float32))
                self._hyper_values[name] = value
        self._hyper_given = dict(given)


def _run(opened: ort.InferenceSession, binding: ort.IOBinding) -> None:
    """Execute a graph; what the runtime refuses, such as a token that is not in the vocabulary, is an EngineError."""
    try:
        opened.run_with_iobinding(binding)
    except Exception as reason:  # the runtime's errors have no public base class
        lines = str(reason).splitlines() or [type(reason).__name__]
        raise EngineError(f"the model could not be executed on this batch: {lines[0]}") from None


def _shared(array: Array) -> ort.OrtValue:
    """The same memory; valid as long as the array."""
    return ort.OrtValue.ortvalue_from_numpy(array)


def _owned(value: Array | np.generic) -> ort.OrtValue:
    """A runtime-owned copy (`ortvalue_from_numpy` would alias the array)."""
    array = np.ascontiguousarray(value).reshape(np.shape(value))
    owned = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), array.dtype.type)
    owned.update_inplace(array)
    return owned


_: type[Engine] = OnnxRuntime


def _with_options(bundle: Bundle, options: Mapping[str, Any]) -> OnnxRuntime:
    return OnnxRuntime(bundle, Options(**options))


def _open(bundle: Bundle) -> object:
    return [session(bundle, f"{graph}.onnx", Options()) for graph in ("train", "predict")]


SPEC = EngineSpec(create=create, tune=tune, with_options=_with_options, open=_open, concurrent=True)
