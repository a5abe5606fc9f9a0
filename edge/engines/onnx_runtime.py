"""The training step on stock ONNX Runtime.

Parameters and state live in two sets of buffers that the runtime owns: a step reads one set and
writes the other, then they change places (frozen parameters are in both). Nothing is allocated that
the last step did not.
"""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import onnxruntime as ort  # noqa: TID251 - this is its engine's file

import edge.bundle as names
from edge.bundle import Bundle
from edge.errors import BundleError, EngineError
from edge.interfaces import Array, Engine, Floats, Metrics

NOISE_STEP = "noise/step"
"""how many steps have drawn noise: with the seed, all that the next masks depend on"""


def create(bundle: Bundle, *, threads: int = 1, seed: int = 0) -> "OnnxRuntime":
    """An engine at the bundle's starting point. Engines of one bundle share their sessions.

    seed: of the masks of Dropout, where the bundle has any.
    """
    return OnnxRuntime(bundle, threads=threads, seed=seed)


@lru_cache(maxsize=64)
def _session(path: str, _digest: str, threads: int) -> ort.InferenceSession:
    # The digest is only part of the cache's key: a bundle may be replaced under the same path.
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning made small batches three times slower with two threads, and steals the core from others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The pattern preallocates one slab a shape: peak 84 MB with it, 74 without (small CNN, batch 32).
    options.enable_mem_pattern = False
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as reason:  # onnxruntime's exceptions have no public base class
        raise BundleError(f"onnxruntime {ort.__version__} cannot load {path}: {str(reason).splitlines()[0]}") from None


class OnnxRuntime:
    """One device's parameters over sessions that may be shared. See `edge.interfaces.Engine`."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, seed: int = 0) -> None:
        self.bundle = bundle
        self.work: Counter[tuple[str, int, int]] = Counter()
        self._seed, self._noise_step = seed, 0
        self._manifest = manifest = bundle.manifest
        self._train, self._predict = (
            _session(str(bundle.path / file), manifest.digests[file], threads)
            for file in ("train.onnx", "predict.onnx")
        )
        start = {names.PARAMETER + k: v for k, v in bundle.parameters().items()}
        start |= {names.STATE + s.name: np.zeros(tuple(map(int, s.shape)), s.dtype) for s in manifest.state}
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
        self._results = {
            output.name: _owned(np.zeros((), np.float32))
            for output in self._train.get_outputs()
            if not output.name.startswith(names.NEXT)
        }
        self._bindings = [self._bound(old, new) for old, new in ((0, 1), (1, 0))]
        self._inputs = {i.name: i for i in manifest.inputs}
        self._outputs = {output.name for output in self._predict.get_outputs()}

    def step(self, batch: Mapping[str, Array], **hyper: float) -> Metrics:
        """See `Engine.step`. A step whose loss is not finite is refused: the parameters stay."""
        self._check(batch)
        self._set_hyper(hyper)
        binding = self._bindings[self._now]
        for name, value in batch.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name, mask in self._noise(batch).items():
            binding.bind_cpu_input(name, mask)
        self._train.run_with_iobinding(binding)
        metrics = {name: float(value.numpy()) for name, value in self._results.items()}
        if not np.isfinite(metrics[names.TOTAL]):
            raise EngineError(
                f"the loss became {metrics[names.TOTAL]} and the step was undone; look for NaN in the batch, "
                f"or lower the learning rate ({self._hyper_values.get('learning_rate')})"
            )
        self._now = 1 - self._now
        self._noise_step += 1
        self.work["train", len(batch["x"]), len(batch.get("reference_x", ()))] += 1
        return metrics

    def predict(self, x: Array) -> Floats:
        """See `Engine.predict`."""
        return self.outputs(x, names.PROBABILITIES)[0]

    def outputs(self, x: Array, *wanted: str) -> list[Floats]:
        """See `Engine.outputs`."""
        self._check_one("x", x, ("N", *self._manifest.shape), "float32")
        self.work["predict", len(x), 0] += 1
        if unknown := sorted(set(wanted) - self._outputs):
            raise EngineError(f"the bundle predicts no '{unknown[0]}'; it gives {', '.join(sorted(self._outputs))}")
        binding = self._predict.io_binding()
        for name, buffer in self._buffers[self._now].items():
            if name.startswith(names.PARAMETER):
                binding.bind_ortvalue_input(name, buffer)
        binding.bind_cpu_input("x", np.ascontiguousarray(x))
        for name in wanted:
            binding.bind_output(name, "cpu")
        self._predict.run_with_iobinding(binding)
        # numpy() aliases memory that the runtime reuses.
        return [np.array(value.numpy(), copy=True) for value in binding.get_outputs()]

    def parameters(self) -> dict[str, Array]:
        """See `Engine.parameters`."""
        state = self.state()
        return {p.name: state[names.PARAMETER + p.name] for p in self._manifest.parameters}

    def load_parameters(self, values: Mapping[str, Array]) -> None:
        """See `Engine.load_parameters`."""
        self.load_state({names.PARAMETER + k: v for k, v in values.items()})

    def state(self) -> dict[str, Array]:
        """See `Engine.state`; keys are "parameter/NAME" and "state/NAME"."""
        values = {k: np.array(v.numpy(), copy=True) for k, v in self._buffers[self._now].items()}
        return values | ({NOISE_STEP: np.array(self._noise_step, np.int64)} if self._manifest.noise else {})

    def load_state(self, values: Mapping[str, Array]) -> None:
        """See `Engine.load_state`."""
        buffers = self._buffers[self._now]
        if self._manifest.noise and NOISE_STEP in values:
            self._noise_step = int(values[NOISE_STEP])
            values = {k: v for k, v in values.items() if k != NOISE_STEP}
        for name, value in values.items():
            if name not in buffers:
                raise EngineError(f"the model has no '{name}'; it has {', '.join(buffers)}")
            want = tuple(buffers[name].shape())
            self._check_one(name, value, want, "float32")
            if not np.isfinite(value).all():
                raise EngineError(f"'{name}' holds values that are not finite")
        for name, value in values.items():
            buffers[name].update_inplace(np.ascontiguousarray(value))

    def _bound(self, old: int, new: int) -> ort.IOBinding:
        binding = self._train.io_binding()
        for name, buffer in {**self._buffers[old], **self._hyper}.items():
            binding.bind_ortvalue_input(name, buffer)
        for name, buffer in self._results.items():
            binding.bind_ortvalue_output(name, buffer)
        for name, buffer in self._buffers[new].items():
            if name not in self._frozen:
                binding.bind_ortvalue_output(names.NEXT + name, buffer)
        return binding

    def _noise(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """This step's masks: the same for the same seed and step, whatever happened in between."""
        if not self._manifest.noise:
            return {}
        random = np.random.default_rng([self._seed, self._noise_step])
        rows = sum(len(batch[name]) for name in ("x", "reference_x") if name in batch)
        return {
            n.name: (random.random((rows, *n.shape), np.float32) < n.keep).astype(np.float32) / np.float32(n.keep)
            for n in self._manifest.noise
        }

    def _set_hyper(self, given: Mapping[str, float]) -> None:
        if unknown := sorted(given.keys() - self._hyper.keys()):
            raise EngineError(f"no hyper-parameter '{unknown[0]}'; the bundle has {', '.join(self._hyper)}")
        for name, default in self._manifest.hyper.items():
            value = float(given.get(name, default))
            if value != self._hyper_values[name]:
                self._hyper[name].update_inplace(np.array(value, np.float32))
                self._hyper_values[name] = value

    def _check(self, batch: Mapping[str, Array]) -> None:
        if batch.keys() != self._inputs.keys():
            raise EngineError(f"a step needs {', '.join(self._inputs)}; it was given {', '.join(batch) or 'nothing'}")
        rows: dict[str, int] = {}
        for name, value in batch.items():
            tensor = self._inputs[name]
            self._check_one(name, value, tensor.shape, tensor.dtype)
            free = str(tensor.shape[0])
            if rows.setdefault(free, len(value)) != len(value):
                raise EngineError(f"'{name}' has {len(value)} rows, other inputs of its batch have {rows[free]}")
            if not len(value):
                raise EngineError(f"'{name}' has no rows")
        labels, classes = batch.get("labels"), self._manifest.classes
        if labels is not None and not 0 <= labels.min() <= labels.max() < classes:  # the runtime does not check
            raise EngineError(f"labels must be 0 to {classes - 1}; they go from {labels.min()} to {labels.max()}")

    def _check_one(self, name: str, value: Array, shape: tuple[int | str, ...], dtype: str) -> None:
        fits = len(value.shape) == len(shape) and all(
            isinstance(want, str) or want == have for have, want in zip(value.shape, shape, strict=True)
        )
        if not fits or value.dtype != dtype:
            raise EngineError(f"'{name}' must be {dtype} {list(shape)}; it is {value.dtype} {list(value.shape)}")


def _owned(value: Array | np.generic) -> ort.OrtValue:
    """A runtime-owned copy (`ortvalue_from_numpy` would alias the array)."""
    array = np.ascontiguousarray(value).reshape(np.shape(value))
    owned = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), array.dtype.type)
    owned.update_inplace(array)
    return owned


_: type[Engine] = OnnxRuntime
