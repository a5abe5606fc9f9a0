"""The bundle: a folder with everything a device needs to train one model (docs/bundle.md).

    manifest.json            what it is, and the digests of the rest
    train.onnx               one training step: batch, hyper-parameters, parameters, state -> losses, next ...
    predict.onnx             x, parameters -> logits, probabilities
    parameters.safetensors   where training starts
    model.tflite             both graphs for TFLite, if asked for
    backbone.tflite          what makes features of samples, if there is such

This file is the whole contract between exporter and device; neither imports the other.
"""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from edge.errors import BundleError
from edge.interfaces import Array
from edge.storage.digest import sha256_of

MANIFEST = "manifest.json"
FORMAT = 1
PARAMETERS = "parameters.safetensors"
TFLITE, BACKBONE, ORT_TRAINING = "model.tflite", "backbone.tflite", "ort_training"

# Names of the graphs' inputs and outputs; a parameter or state tensor NAME is "parameter/NAME" or
# "state/NAME" going in and "next/parameter/NAME" or "next/state/NAME" coming out.
PARAMETER, STATE, NEXT, WEIGHT, LOSS = "parameter/", "state/", "next/", "weight/", "loss/"
NOISE = "noise/"
TOTAL, CORRECT, LOGITS, PROBABILITIES, EMBEDDING = "loss", "correct", "logits", "probabilities", "embedding"


def of_head(name: str, head: int) -> str:
    """What "logits", "target", ... is called for a head: head 0 has the plain name."""
    return f"{name}/{head}" if head else name


_INSIDE = re.compile(r"(ort_training/)?[A-Za-z0-9_-][A-Za-z0-9_.-]*")
"""names of files a bundle may list: in the folder itself, or in its one folder of another runtime's artifacts"""


class Tensor(BaseModel):
    """A named tensor. A dimension given as text is known only at run time."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    shape: tuple[int | str, ...]
    dtype: Literal["float32", "int64"] = "float32"

    @property
    def size(self) -> int:
        """How many scalars; only where every dimension is known."""
        return prod(map(int, self.shape))


class Parameter(Tensor):
    """A row of the parameter table."""

    trainable: bool = True
    statistic: bool = False
    """measured by every step (a running mean or variance), not trained"""


class Noise(BaseModel):
    """A mask that the engine draws for each step: (rows, *shape) of 0 or 1/keep, an element kept with `keep`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    shape: tuple[int, ...]
    keep: float


class Backbone(BaseModel):
    """What goes before the model: backbone.tflite turns a sample of `shape`, 0 to 1, into the features it trains on."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    shape: tuple[int, ...]
    """of one sample, channels first"""
    range: tuple[float, float]
    """what 0 and 1 are for the backbone"""


class Manifest(BaseModel):
    """What manifest.json holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal[1]
    name: str
    shape: tuple[int, ...]
    """of one sample"""
    classes: int
    heads: int = 1
    """the main one and the auxiliary ones"""
    embedding: tuple[int, ...] | None = None
    """shape of one sample's embedding, if `predict` gives one"""
    objective: tuple[str, ...]
    """terms, e.g. ("cross_entropy", "squared_error(reference)")"""
    optimizer: str
    inputs: tuple[Tensor, ...]
    """of one step, beside hyper-parameters, parameters and state: "x", "labels", ..."""
    noise: tuple[Noise, ...] = ()
    """masks of one step, for all its rows: the private ones, then the reference ones"""
    hyper: dict[str, float]
    """scalars a step may be given, and their defaults"""
    tflite: dict[str, int] | None = None
    """rows of a private batch "N" and of a reference batch "R" that model.tflite takes, if there is one"""
    backbone: Backbone | None = None
    """what turns samples into the rows of features that `shape` is about, if there is one"""
    parameters: tuple[Parameter, ...]
    state: tuple[Tensor, ...]
    opset: int
    ir_version: int
    written_with: dict[str, str]
    digests: dict[str, str]
    """SHA-256 of each file, in hexadecimal"""

    @property
    def sample(self) -> tuple[int, ...]:
        """Shape of a sample as the data has it."""
        return self.backbone.shape if self.backbone else self.shape

    @property
    def model_digest(self) -> bytes:
        """8 bytes of SHA-256 over the parameter table: devices that agree on it can exchange weights."""
        table = json.dumps([[p.name, list(p.shape), p.dtype] for p in self.parameters])
        return hashlib.sha256(table.encode()).digest()[:8]

    @property
    def size(self) -> int:
        """P, the number of scalars in all parameters."""
        return sum(p.size for p in self.parameters)


@dataclass(frozen=True)
class Bundle:
    """A bundle whose digests have been checked."""

    path: Path
    manifest: Manifest

    def parameters(self) -> dict[str, Array]:
        """Where training starts, by name, in the table's order. Read once a process; not to be written to."""
        stored = _start(self.path / PARAMETERS, self.manifest.digests[PARAMETERS])
        return {p.name: stored[p.name] for p in self.manifest.parameters}

    def require(self, objective: tuple[str, ...], who: str) -> None:
        """Raise BundleError unless the bundle was exported for these terms (weights aside)."""
        if set(objective) != set(self.manifest.objective):
            raise BundleError(
                f"{who} needs the objective '{' + '.join(objective)}', but {self.path} was exported for "
                f"'{' + '.join(self.manifest.objective)}'; export it again with --objective"
            )


def read(path: Path) -> Bundle:
    """Open a bundle. Raises BundleError: not there, another format, altered, or inconsistent."""
    try:
        text = (path / MANIFEST).read_bytes()
    except OSError as reason:
        raise BundleError(f"{path} is not a bundle: no readable {MANIFEST} ({reason.strerror})") from None
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as reason:
        first = reason.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise BundleError(f"{path / MANIFEST}: {where}: {first['msg']} (this is format {FORMAT})") from None
    expected = {"train.onnx", "predict.onnx", PARAMETERS, *([TFLITE] if manifest.tflite else [])}
    expected |= {BACKBONE} if manifest.backbone else set()
    if missing := sorted(expected - manifest.digests.keys()):
        raise BundleError(f"{path / MANIFEST}: digests: nothing about {', '.join(missing)}")
    for name, digest in manifest.digests.items():
        if not _INSIDE.fullmatch(name):
            raise BundleError(f"{path / MANIFEST}: '{name}' is not the name of a file in the bundle")
        actual = _sha256(path / name)
        if actual != digest:
            raise BundleError(
                f"{path / name} is not the file that was exported: its SHA-256 is {actual[:12]}..., the "
                f"manifest says {digest[:12]}...; copy or export the bundle again"
            )
    stored = {k: (v.shape, str(v.dtype)) for k, v in _tensors(path / PARAMETERS).items()}
    table = {p.name: (p.shape, p.dtype) for p in manifest.parameters}
    if stored != table:
        odd = sorted(k for k in stored.keys() | table.keys() if stored.get(k) != table.get(k))
        raise BundleError(f"{path}: parameters.safetensors and the manifest disagree on {', '.join(odd)}")
    return Bundle(path, manifest)


def write(
    path: Path, manifest: Mapping[str, object], graphs: Mapping[str, bytes], parameters: Mapping[str, Array]
) -> Bundle:
    """Write a bundle: all of it, or nothing. An older bundle at `path` is replaced; other folders are not.

    Args:
        path: the folder to make.
        manifest: all fields but `format` and `digests`.
        graphs: file name -> content.
        parameters: by name.
    """
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path} exists and is not a bundle; choose another place or remove it")
    files = {**graphs, PARAMETERS: save_tensors(dict(parameters))}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    whole = Manifest.model_validate({"format": FORMAT, **manifest, "digests": digests})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as name:
            fresh = Path(name) / "new"
            fresh.mkdir()
            for file, content in files.items():
                (fresh / file).parent.mkdir(exist_ok=True)
                (fresh / file).write_bytes(content)
            (fresh / MANIFEST).write_text(whole.model_dump_json(indent=1) + "\n")
            if path.exists():
                path.rename(Path(name) / "old")
            fresh.replace(path)
            shutil.rmtree(Path(name) / "old", ignore_errors=True)
    except OSError as reason:
        raise BundleError(f"cannot write the bundle {path}: {reason.strerror}") from None
    return Bundle(path, whole)


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as reason:
        raise BundleError(f"the bundle lacks {path}: {reason.strerror}") from None


@lru_cache(maxsize=8)
def _start(path: Path, _digest: str) -> dict[str, Array]:
    """The digest is part of the key: a bundle may be replaced under the same path."""
    found = _tensors(path)
    for value in found.values():
        value.flags.writeable = False
    return found


def _tensors(path: Path) -> dict[str, Array]:
    try:
        tensors: dict[str, Array] = load_tensors(path.read_bytes())
    except (OSError, SafetensorError) as reason:
        raise BundleError(f"{path} cannot be read: {reason}") from None
    return tensors
