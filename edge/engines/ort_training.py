"""ONNX Runtime's own training package over the official artifacts in a bundle, for hosts that have it.

The official gradient and update; the objective is the bundle's, with the weights of its terms as they were exported.
Predictions run on the same package's inference session. The optimizer's state is known to the runtime only, so
`state` holds the runtime's own checkpoint, as bytes, beside the parameters.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import edge.bundle as names
from edge.bundle import ORT_TRAINING, Bundle
from edge.engines import _checks as check
from edge.engines._base import Base
from edge.engines._session import Options, session, settings
from edge.errors import BundleError, EngineError
from edge.interfaces import Array, Engine, Floats, Metrics
from edge.specs import EngineSpec
from edge.training_package import open_package

open_package()
from onnxruntime.training import api  # noqa: E402, TID251 - this is its engine's file

CHECKPOINT = "ort_training/checkpoint"
RATE = "learning_rate"


def create(bundle: Bundle, *, threads: int | None = None, seed: int = 0, home: Path | None = None) -> "OrtTraining":
    """An engine at the bundle's starting point.

    seed: of the masks of Dropout, where the bundle has any. home: not used; there is nothing to keep.
    """
    return OrtTraining(bundle, threads=threads or 1, seed=seed)


class OrtTraining(Base):
    """One device's module, optimizer and checkpoint. See `edge.interfaces.Engine`."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, seed: int = 0) -> None:
        super().__init__(bundle, seed)
        manifest = bundle.manifest
        if f"{ORT_TRAINING}/checkpoint" not in manifest.digests:
            raise EngineError(f"{bundle.path} has no {ORT_TRAINING}/; export it again with --ort-training")
        self._home, self._options = bundle.path / ORT_TRAINING, Options(threads)
        self._shapes = {names.PARAMETER + p.name: tuple(map(int, p.shape)) for p in manifest.parameters}
        self._open(self._home / "checkpoint")

    def step(self, batch: Mapping[str, Array], **hyper: float) -> Metrics:
        """See `Engine.step`. The optimizer moves only where the loss and all gradients are finite."""
        check.batch(self._manifest, batch)
        scalars = check.hyper(self._manifest, hyper)
        for name, value in scalars.items():
            if name != RATE and value != self._manifest.hyper[name]:
                raise EngineError(
                    f"'{name}' is fixed at {self._manifest.hyper[name]:g} in the official artifacts; it was given "
                    f"{value:g}: export the bundle with that value, or train with the engine onnx-runtime"
                )
        masks = self._masks(batch)
        given = [batch[i.name] for i in self._manifest.inputs] + [masks[n.name] for n in self._manifest.noise]
        self._optimizer.set_learning_rate(scalars[RATE])
        try:
            losses = self._module(*(np.ascontiguousarray(v) for v in given))
            metrics = {name: float(value) for name, value in zip(self._results, losses, strict=True)}
            if self._sound(metrics, finite=bool(np.isfinite(self._squared_norm())), rate=scalars[RATE]):
                self._optimizer.step()
        finally:
            self._module.lazy_reset_grad()
        self._stepped(check.rows(batch))
        return metrics

    def outputs(self, x: Array, *wanted: str) -> list[Floats]:
        """See `Engine.outputs`."""
        opened = session(self.bundle, "predict.onnx", self._options)
        check.samples(self._manifest, x, wanted, [o.name for o in opened.get_outputs()])
        self.work["predict", len(x), 0] += 1
        read = {i.name for i in opened.get_inputs()}
        parameters = {k: v for k, v in self._parameters().items() if k in read}
        outputs: list[Floats] = opened.run(list(wanted), {"x": np.ascontiguousarray(x), **parameters})
        return outputs

    def parameters(self) -> dict[str, Array]:
        """See `Engine.parameters`."""
        return {k.removeprefix(names.PARAMETER): v for k, v in self._parameters().items()}

    def state(self) -> dict[str, Array]:
        """See `Engine.state`; keys are "parameter/NAME", and the runtime's checkpoint as bytes."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "checkpoint"
            api.CheckpointState.save_checkpoint(self._state, str(file), include_optimizer_state=True)
            held = {**self._parameters(), CHECKPOINT: np.frombuffer(file.read_bytes(), np.uint8)}
        return held | self._noise_state()

    def load_state(self, values: Mapping[str, Array]) -> None:
        """See `Engine.load_state`."""
        given, noise_step = self._without_noise(values)
        checkpoint = given.pop(CHECKPOINT, None)
        check.values(given, self._shapes)
        if checkpoint is not None:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "checkpoint"
                file.write_bytes(checkpoint.astype(np.uint8).tobytes())
                self._open(file)
        for name, value in given.items():
            self._state.parameters[name.removeprefix(names.PARAMETER)].data = np.ascontiguousarray(value)
        self._noise_step = noise_step

    def _open(self, checkpoint: Path) -> None:
        try:
            self._state = api.CheckpointState.load_checkpoint(str(checkpoint))
            train, evaluate = (str(self._home / f"{name}_model.onnx") for name in ("training", "eval"))
            self._module = api.Module(train, self._state, evaluate, session_options=settings(self._options))
            self._optimizer = api.Optimizer(str(self._home / "optimizer_model.onnx"), self._module)
        except Exception as reason:  # whatever its C++ side raises
            brief = str(reason).splitlines()[0]
            raise BundleError(f"onnxruntime-training cannot load {checkpoint}: {brief}") from None
        self._results = self._module.output_names()

    def _squared_norm(self) -> float:
        """Of all gradients, in float32 as in the other engines' graphs: the optimizer squares them, too."""
        held: Any = self._state.parameters
        with np.errstate(over="ignore", invalid="ignore"):
            return float(sum(np.square(held[p.name].grad).sum() for p in self._manifest.parameters if p.trainable))

    def _parameters(self) -> dict[str, Array]:
        held: Any = self._state.parameters
        return {name: np.array(held[name.removeprefix(names.PARAMETER)].data, copy=True) for name in self._shapes}


_: type[Engine] = OrtTraining

SPEC = EngineSpec(create=create, artifacts=ORT_TRAINING)
