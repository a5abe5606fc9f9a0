"""What every engine asks of what it is given, in the same words."""

from collections.abc import Iterable, Mapping

import numpy as np

import edge.bundle as names
from edge.bundle import Manifest
from edge.errors import EngineError
from edge.interfaces import Array
from edge.ranges import complaint


def batch(manifest: Manifest, given: Mapping[str, Array]) -> None:
    """A batch is whole, of the right shapes and types, and its labels are classes. Raises EngineError."""
    layout(manifest, given)
    content(manifest, given)


def layout(manifest: Manifest, given: Mapping[str, Array]) -> None:
    """A batch is whole, of the right shapes and types. Raises EngineError."""
    inputs = {i.name: i for i in manifest.inputs}
    if given.keys() != inputs.keys():
        raise EngineError(f"a step needs {', '.join(inputs)}; it was given {', '.join(given) or 'nothing'}")
    lengths: dict[str, int] = {}
    for name, value in given.items():
        wanted = inputs[name]
        tensor(name, value, wanted.shape, wanted.dtype)
        free = str(wanted.shape[0])
        if lengths.setdefault(free, len(value)) != len(value):
            raise EngineError(f"'{name}' has {len(value)} rows, other inputs of its batch have {lengths[free]}")
        if not len(value):
            raise EngineError(f"'{name}' has no rows")


def content(manifest: Manifest, given: Mapping[str, Array]) -> None:
    """The numbers of a batch are finite, and its labels are classes. Raises EngineError."""
    for name, value in given.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise EngineError(f"'{name}' holds NaN or infinite values in row {_odd(value)}; no step was taken")
    if sum(rows(given)) < manifest.least_rows:
        raise EngineError(
            "a step of one row: a normalization by the batch sees one value a channel there, and its variance is 0; "
            "train with larger batches, or export with --batch-norm frozen"
        )
    for name in manifest.vocabulary.keys() & given.keys():
        tokens(manifest, name, given[name])
        tokens(manifest, name, given.get(names.REFERENCE_X + name[1:], given[name]))
    if (y := given.get("labels")) is not None:
        labels(manifest, y)


def tokens(manifest: Manifest, name: str, x: Array) -> None:
    """Token numbers are in the model's table: some runtimes read other memory instead. Raises EngineError."""
    highest = manifest.vocabulary[name] - 1
    if x.dtype.kind == "f":  # the model cuts the fraction off
        x = np.trunc(x)
    if x.size and not 0 <= x.min() <= x.max() <= highest:
        raise EngineError(f"'{name}': token numbers must be 0 to {highest}; they go from {x.min()} to {x.max()}")


def labels(manifest: Manifest, y: Array) -> None:
    """Labels are what the task says, which no runtime checks. Raises EngineError."""
    task = manifest.job
    if not task.bounded:
        return
    if task.positions:
        y = np.where(y == manifest.ignored, 0, y)
    lowest, highest = 0, manifest.classes - 1 if task.classes else 1
    if not lowest <= y.min() <= y.max() <= highest:
        raise EngineError(f"labels must be {lowest} to {highest}; they go from {y.min()} to {y.max()}")


def rows(batch: Mapping[str, Array]) -> tuple[int, int]:
    """Private and reference rows of a batch."""
    return len(batch["x"]), len(batch.get("reference_x", ()))


def _odd(value: Array) -> int:
    return int(np.argmin(np.isfinite(value.reshape(len(value), -1)).all(axis=1)))


def tensor(name: str, value: Array, shape: tuple[int | str, ...], dtype: str) -> None:
    """An array has this type and shape; a dimension in letters may be any. Raises EngineError."""
    fits = len(value.shape) == len(shape) and all(
        isinstance(want, str) or want == have for have, want in zip(value.shape, shape, strict=True)
    )
    if not fits or value.dtype != dtype:
        raise EngineError(f"'{name}' must be {dtype} {list(shape)}; it is {value.dtype} {list(value.shape)}")


def samples(manifest: Manifest, x: Array, wanted: Iterable[str], known: Iterable[str]) -> None:
    """Samples for a prediction, and outputs that there are. Raises EngineError."""
    if manifest.input_names:
        raise EngineError(f"a prediction has one array, and the model takes {', '.join(manifest.input_names)}")
    tensor(names.X, x, ("N", *manifest.shape), manifest.samples[names.X].dtype)
    if names.X in manifest.vocabulary:
        tokens(manifest, names.X, x)
    if unknown := sorted(set(wanted) - set(known)):
        raise EngineError(f"the bundle predicts no '{unknown[0]}'; it gives {', '.join(sorted(known))}")


def hyper(manifest: Manifest, given: Mapping[str, float]) -> dict[str, float]:
    """All scalars of a step: those given, the bundle's defaults for the rest. Raises EngineError."""
    if unknown := sorted(given.keys() - manifest.hyper.keys()):
        raise EngineError(f"no hyper-parameter '{unknown[0]}'; the bundle has {', '.join(manifest.hyper)}")
    for name, value in given.items():
        if problem := complaint(name, float(value)):
            raise EngineError(f"{problem}; no step was taken")
    return {name: float(given.get(name, default)) for name, default in manifest.hyper.items()}


def values(given: Mapping[str, Array], held: Mapping[str, tuple[int, ...]]) -> None:
    """Parameters and state to be loaded are among those `held` (name -> shape), and finite. Raises EngineError."""
    for name, value in given.items():
        if name not in held:
            raise EngineError(f"the model has no '{name}'; it has {', '.join(held)}")
        tensor(name, value, held[name], "float32")
        if not np.isfinite(value).all():
            raise EngineError(f"'{name}' holds values that are not finite")


def masks(manifest: Manifest, given: Mapping[str, Array], seed: int, step: int) -> dict[str, Array]:
    """A step's masks of Dropout: the same for the same seed and step, whatever happened in between."""
    if not manifest.noise:
        return {}
    random = np.random.default_rng([seed, step])
    total = sum(rows(given))
    return {
        n.name: (random.random((total, *n.shape), np.float32) < n.keep).astype(np.float32) / np.float32(n.keep)
        for n in manifest.noise
    }


def start(parameters: Mapping[str, Array], manifest: Manifest) -> dict[str, Array]:
    """What training starts from: the parameters given, and a state of zeros, by the graphs' names."""
    held = {names.PARAMETER + k: v for k, v in parameters.items()}
    return held | {names.STATE + s.name: np.zeros(tuple(map(int, s.shape)), s.dtype) for s in manifest.state}
