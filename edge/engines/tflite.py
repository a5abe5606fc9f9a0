"""The training step on TFLite, for boards where even ONNX Runtime is too big, 32-bit ARM included.

`ai-edge-litert` runs it, or `tflite-runtime`, whichever is installed. Parameters and state go in and come out as in
the ONNX graph: a step that is refused leaves no trace, and all devices of a process share one interpreter. Kept in
resource variables inside the file they were no smaller (66.3 MB peak either way, small CNN) and no faster or slower
than the noise (small CNN 4.8 / 4.8 ms; an MLP of 795,010 parameters 1.0 / 0.8 with ai-edge-litert, 2.4 / 2.8 with
tflite-runtime 2.14).
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import edge.bundle as names
from edge.bundle import TFLITE, Bundle
from edge.engines import _checks as check
from edge.engines._base import Base
from edge.errors import EngineError
from edge.interfaces import Array, Engine, Floats, Metrics
from edge.interpreter import interpreter
from edge.specs import EngineSpec


def create(bundle: Bundle, *, threads: int | None = None, seed: int = 0, home: Path | None = None) -> "Tflite":
    """An engine at the bundle's starting point. Engines of one bundle share their interpreter.

    seed: of the masks of Dropout, where the bundle has any. home: not used; there is nothing to keep.
    """
    return Tflite(bundle, threads=threads or 1, seed=seed)


@lru_cache(maxsize=64)
def _signatures(path: str, _digest: str, threads: int) -> tuple[Any, Any]:
    # The digest is only part of the cache's key: a bundle may be replaced under the same path.
    opened = interpreter(path, threads)
    return opened.get_signature_runner("train"), opened.get_signature_runner("predict")


class Tflite(Base):
    """One device's parameters over an interpreter that may be shared. See `edge.interfaces.Engine`."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, seed: int = 0) -> None:
        super().__init__(bundle, seed)
        manifest = bundle.manifest
        if manifest.tflite is None:
            raise EngineError(f"{bundle.path} has no {TFLITE}; export it again with --tflite N (rows of a batch)")
        self._rows = manifest.tflite
        self._train, self._predict = _signatures(str(bundle.path / TFLITE), manifest.digests[TFLITE], threads)
        self._values = check.start(bundle.parameters(), manifest)
        self._outputs = set(self._predict.get_output_details())

    def step(self, batch: Mapping[str, Array], **hyper: float) -> Metrics:
        """See `Engine.step`. The values of before are kept unless loss and update are finite."""
        check.batch(self._manifest, batch)
        self._fits(batch)
        scalars = check.hyper(self._manifest, hyper)
        masks = self._masks(batch)
        outputs = self._train(
            **{k: _narrow(v) for k, v in {**batch, **masks}.items()},
            **{k: np.array([v], np.float32) for k, v in scalars.items()},
            **{k: np.atleast_1d(v) for k, v in self._values.items()},
        )
        # Files of before scalars came in as vectors of one give some of them back as such.
        metrics = {k: float(np.reshape(v, ())) for k, v in outputs.items() if not k.startswith(names.NEXT)}
        moved = {
            k: np.reshape(outputs[names.NEXT + k], v.shape)
            for k, v in self._values.items()
            if names.NEXT + k in outputs
        }
        # They are in our hands anyway, so this file needs no norm; it also notices what a loss hides: this runtime's
        # ReLU and maxima turn NaN into a number.
        finite = all(np.isfinite(value).all() for value in moved.values())
        if self._sound(metrics, finite=finite, rate=scalars.get("learning_rate")):
            self._values |= moved
        self._stepped(check.rows(batch))
        return metrics

    def outputs(self, x: Array, *wanted: str) -> list[Floats]:
        """See `Engine.outputs`. As many rows at a time as the file was exported for, the last ones filled up."""
        check.samples(self._manifest, x, wanted, self._outputs)
        self.work["predict", len(x), 0] += 1
        size = self._rows["N"]
        parameters = {k: np.atleast_1d(v) for k, v in self._values.items() if k.startswith(names.PARAMETER)}
        pieces: list[list[Floats]] = [[] for _ in wanted]
        for first in range(0, max(1, len(x)), size):
            rows = x[first : first + size]
            filled = np.zeros((size, *x.shape[1:]), np.float32)
            filled[: len(rows)] = rows
            results = self._predict(x=filled, **parameters)
            for parts, name in zip(pieces, wanted, strict=True):
                parts.append(results[name][: len(rows)])
        return [np.concatenate(parts) for parts in pieces]

    def parameters(self) -> dict[str, Array]:
        """See `Engine.parameters`."""
        return {p.name: self._values[names.PARAMETER + p.name].copy() for p in self._manifest.parameters}

    def state(self) -> dict[str, Array]:
        """See `Engine.state`; keys are "parameter/NAME" and "state/NAME"."""
        values = {k: v.copy() for k, v in self._values.items()}
        return values | self._noise_state()

    def load_state(self, values: Mapping[str, Array]) -> None:
        """See `Engine.load_state`."""
        given, noise_step = self._without_noise(values)
        check.values(given, {k: v.shape for k, v in self._values.items()})
        self._noise_step = noise_step
        self._values |= {k: v.copy() for k, v in given.items()}

    def _fits(self, batch: Mapping[str, Array]) -> None:
        for wanted in self._manifest.inputs:
            have, size = len(batch[wanted.name]), self._rows[str(wanted.shape[0])]
            if have != size:
                rows = ",".join(str(n) for n in self._rows.values())
                raise EngineError(
                    f"'{wanted.name}' has {have} rows; {TFLITE} was exported for batches of exactly {size} "
                    f"(--tflite {rows}): train with that batch size, or export the bundle again"
                )


def _narrow(value: Array) -> Array:
    """The file's integers have 32 bits."""
    return value.astype(np.int32) if value.dtype == np.int64 else np.ascontiguousarray(value)


_: type[Engine] = Tflite

SPEC = EngineSpec(create=create, fixed_batch=True, artifacts=TFLITE)
