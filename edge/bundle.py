"""The bundle: a folder with everything a device needs to train one model (docs/bundle.md).

    manifest.json            the description, with the digests of the other files
    train.onnx               one training step: batch, hyper-parameters, parameters, state -> losses, next ...
    predict.onnx             x, parameters -> logits, probabilities
    parameters.safetensors   initial values of the parameters
    model.tflite             both graphs for TFLite, optional
    backbone.tflite          a frozen network before the model, optional

This file is the whole contract between the exporter and the device; neither depends on the other otherwise.

Examples:
    >>> head_name("logits", 0), head_name("logits", 2)
    ('logits', 'logits/2')
    >>> Tensor(name="weight", shape=(64, 10)).size
    640
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
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from edge.errors import BundleError
from edge.interfaces import Array
from edge.standardization import Standardization
from edge.storage import external_data
from edge.storage.digests import sha256
from edge.task import CLASSIFICATION, IGNORED, SUPERVISION, TASKS, Task, task

MANIFEST = "manifest.json"
UNSAID = (
    "class_names",
    "standardization",
    "task",
    "supervision",
    "arguments",
    "least_rows",
    "notes",
    "vocabulary",
    "input_names",
)
"""keys that are in a manifest only where they differ from their defaults"""
FORMAT = 1
PARAMETERS = "parameters.safetensors"
TFLITE, BACKBONE, ORT_TRAINING = "model.tflite", "backbone.tflite", "ort_training"

# Names of inputs and outputs of the graphs. A parameter or state tensor NAME is the input "parameter/NAME" or
# "state/NAME" and the output "next/parameter/NAME" or "next/state/NAME".
PARAMETER, STATE, NEXT, WEIGHT, LOSS = "parameter/", "state/", "next/", "weight/", "loss/"
NOISE = "noise/"
X, REFERENCE_X, INPUT = "x", "reference_x", "x/"
"""samples; of a model with several inputs the first one's, and NAME's are "x/NAME" and "reference_x/NAME".
"""
SQUARED_NORM, SKIPPED = "squared_norm", "skipped_steps"
"""outputs of a step beside its losses: a scalar that is finite where the step is; and what engines count"""
TOTAL, CORRECT, LOGITS, PROBABILITIES, EMBEDDING = "loss", "correct", "logits", "probabilities", "embedding"


def head_name(name: str, head: int) -> str:
    """Return the name of an input or output for one head.

    Args:
        name: of the main head's tensor, e.g. "logits" or "target".
        head: 0 for the main head, which has the plain name; 1, 2, ... for auxiliary heads.

    Returns:
        The name, e.g. "logits/2".
    """
    return f"{name}/{head}" if head else name


_INSIDE = re.compile(r"(ort_training/)?[A-Za-z0-9_-][A-Za-z0-9_.-]*")
"""File names a bundle may list: in the folder itself, or in its one subfolder of ONNX Runtime training artifacts."""


class Tensor(BaseModel):
    """A named tensor. A dimension that is a text is known only at run time."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    shape: tuple[int | str, ...]
    dtype: Literal["float32", "int64"] = "float32"

    @property
    def size(self) -> int:
        """The number of scalars; only where every dimension is known."""
        return prod(map(int, self.shape))


class Parameter(Tensor):
    """A row of the parameter table."""

    trainable: bool = True
    statistic: bool = False
    """measured by every step (a running mean or variance) instead of trained"""


class Noise(BaseModel):
    """A mask that the engine draws for each step: (rows, *shape), 1/keep with probability `keep`, else 0."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    shape: tuple[int, ...]
    keep: float


class Backbone(BaseModel):
    """The frozen network before the model: it turns a sample of `shape` with values 0 to 1 into a row of features."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    shape: tuple[int, ...]
    """of one sample, channels first"""
    range: tuple[float, float]
    """what the values 0 and 1 become for the backbone"""


class Manifest(BaseModel):
    """The content of manifest.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal[1]
    name: str
    shape: tuple[int, ...]
    """of one sample"""
    classes: int
    class_names: tuple[str, ...] | None = None
    """of the classes, in the order of their numbers; None, and not in the file, if nobody declared them"""
    standardization: Standardization | None = None
    """what the graphs do to the samples first; None, and not in the file, if nothing"""
    task: str = CLASSIFICATION.name
    """what the outputs and the labels are (`edge.task`); not in the file if it is classification"""
    supervision: str = SUPERVISION
    """the term that learns from labels; not in the file if it is "cross_entropy\""""
    arguments: dict[str, tuple[float, ...]] = {}
    """numbers that terms were given, e.g. {"focal": (2.0,)}; not in the file if there are none"""
    heads: int = 1
    """number of heads: the main one and the auxiliary ones"""
    embedding: tuple[int, ...] | None = None
    """shape of one sample's embedding, if `predict` gives one"""
    objective: tuple[str, ...]
    """terms, e.g. ("cross_entropy", "squared_error(reference)")"""
    optimizer: str
    inputs: tuple[Tensor, ...]
    """of one step, besides hyper-parameters, parameters and state: "x", "labels", ..."""
    noise: tuple[Noise, ...] = ()
    """masks of one step, for all its rows: private rows first, then reference rows"""
    hyper: dict[str, float]
    """scalars that a step accepts, and their defaults"""
    least_rows: int = 1
    """rows that a step must have; 2 where a normalization by the batch sees one value a row; not in the file if 1"""
    notes: tuple[str, ...] = ()
    """what the exporter changed in the model, one sentence each; not in the file if nothing"""
    vocabulary: dict[str, int] = {}
    """how many tokens there are, by the name of an input that takes their numbers; not in the file without such"""
    input_names: tuple[str, ...] = ()
    """of a model with several inputs, as its file calls them: "x" is the first; not in the file of others"""
    tflite: dict[str, int] | None = None
    """rows of the private batch "N" and of the reference batch "R" of model.tflite; None without that file"""
    backbone: Backbone | None = None
    """the frozen network whose features have the `shape`; None without one"""
    parameters: tuple[Parameter, ...]
    state: tuple[Tensor, ...]
    opset: int
    ir_version: int
    written_with: dict[str, str]
    digests: dict[str, str]
    """SHA-256 of each file, in hexadecimal"""

    @model_validator(mode="after")
    def _known_task(self) -> Self:
        if self.task not in TASKS:
            raise ValueError(f"task: expected one of {', '.join(TASKS)}, got '{self.task}'")
        return self

    @model_validator(mode="after")
    def _one_name_a_class(self) -> Self:
        if self.class_names is not None and len(set(self.class_names)) != self.classes:
            raise ValueError(f"class_names: expected {self.classes} different ones, got {', '.join(self.class_names)}")
        return self

    @property
    def samples(self) -> dict[str, Tensor]:
        """What the model takes for each sample: "x", and "x/NAME" of further inputs."""
        return {i.name: i for i in self.inputs if i.name == X or i.name.startswith(INPUT)}

    @property
    def tokens(self) -> bool:
        """Whether the samples are token numbers."""
        return self.samples[X].dtype == "int64"

    @property
    def sample(self) -> tuple[int, ...]:
        """Shape of a sample of the data: before the backbone, where there is one."""
        return self.backbone.shape if self.backbone else self.shape

    @property
    def job(self) -> Task:
        """The task."""
        return task(self.task)

    @property
    def ignored(self) -> int:
        """The per-position label that is none."""
        return int(next(iter(self.arguments.get(self.supervision, ())), IGNORED))

    @property
    def prediction(self) -> str:
        """The output of `predict` that is the model's answer: probabilities or, of a regression, its raw outputs."""
        return LOGITS if self.job.link == "identity" else PROBABILITIES

    @property
    def model_digest(self) -> bytes:
        """The first 8 bytes of SHA-256 over the parameter table: devices with equal digests can exchange weights.

        It covers the class names and the scaling of the input, too, where there are any.
        """
        table = json.dumps([[p.name, list(p.shape), p.dtype] for p in self.parameters])
        if self.standardization is not None:
            table += self.standardization.model_dump_json()
        return self.with_classes(hashlib.sha256(table.encode()).digest()[:8])

    def with_classes(self, digest: bytes) -> bytes:
        """Return a digest that covers the class names and the task, too, so that devices with others are refused.

        Args:
            digest: 8 bytes.

        Returns:
            The first 8 bytes of SHA-256 over it and the names as JSON, if any are declared, and then over that and the
            task, if it is not classification.
        """
        if self.class_names is not None:
            digest = hashlib.sha256(digest + json.dumps(self.class_names).encode()).digest()[:8]
        if self.task != CLASSIFICATION.name:
            digest = hashlib.sha256(digest + self.task.encode()).digest()[:8]
        return digest

    @property
    def size(self) -> int:
        """The number of scalars in all parameters, P."""
        return sum(p.size for p in self.parameters)


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose digests have been checked."""

    path: Path
    manifest: Manifest

    def parameters(self) -> dict[str, Array]:
        """Return the initial parameters by name, in the order of the table.

        They are read once per process and shared, so the arrays are read-only.
        """
        stored = _start(self.path / PARAMETERS, self.manifest.digests[PARAMETERS])
        return {p.name: stored[p.name] for p in self.manifest.parameters}

    def require(self, objective: tuple[str, ...], who: str) -> None:
        """Check that the bundle was exported for an objective.

        Args:
            objective: its terms, without their weights; SUPERVISION stands for the bundle's own.
            who: needs them, for the error message.

        Raises:
            BundleError: the bundle has other terms.
        """
        wanted = self.manifest.job.objective(objective, self.manifest.supervision)
        if set(wanted) != set(self.manifest.objective):
            raise BundleError(
                f"{who} needs the objective '{' + '.join(wanted)}', but {self.path} was exported for "
                f"'{' + '.join(self.manifest.objective)}'; export it again with --objective"
            )


def read(path: Path) -> Bundle:
    """Open a bundle and check it.

    Args:
        path: its folder.

    Returns:
        The bundle.

    Raises:
        BundleError: the folder does not exist, has another format, was altered, or is inconsistent.
    """
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
        if name.endswith(".onnx"):
            external_data.refuse(path / name)
    stored = {k: (v.shape, str(v.dtype)) for k, v in _tensors(path / PARAMETERS).items()}
    table = {p.name: (p.shape, p.dtype) for p in manifest.parameters}
    if stored != table:
        different = sorted(k for k in stored.keys() | table.keys() if stored.get(k) != table.get(k))
        raise BundleError(f"{path}: parameters.safetensors and the manifest disagree on {', '.join(different)}")
    return Bundle(path, manifest)


def write(
    path: Path, manifest: Mapping[str, object], graphs: Mapping[str, bytes], parameters: Mapping[str, Array]
) -> Bundle:
    """Write a bundle: all of it or, after an error, nothing.

    Args:
        path: the folder to create. A bundle that is there is replaced; any other folder is an error.
        manifest: all fields except `format` and `digests`.
        graphs: file name -> content.
        parameters: initial values by name.

    Returns:
        The bundle.

    Raises:
        BundleError: the folder is something else, or cannot be written.
    """
    if path.exists() and not (path / MANIFEST).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path} exists and is not a bundle; choose another place or remove it")
    files = {**graphs, PARAMETERS: save_tensors(dict(parameters))}
    by_name = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    whole = Manifest.model_validate({"format": FORMAT, **manifest, "digests": by_name})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as name:
            fresh = Path(name) / "new"
            fresh.mkdir()
            for file, content in files.items():
                (fresh / file).parent.mkdir(exist_ok=True)
                (fresh / file).write_bytes(content)
            unsaid = {key for key in UNSAID if getattr(whole, key) == Manifest.model_fields[key].default}
            (fresh / MANIFEST).write_text(whole.model_dump_json(indent=1, exclude=unsaid) + "\n")
            if path.exists():
                path.rename(Path(name) / "old")
            fresh.replace(path)
            shutil.rmtree(Path(name) / "old", ignore_errors=True)
    except OSError as reason:
        raise BundleError(f"cannot write the bundle {path}: {reason.strerror}") from None
    return Bundle(path, whole)


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as reason:
        raise BundleError(f"the bundle lacks {path}: {reason.strerror}") from None


@lru_cache(maxsize=8)
def _start(path: Path, _digest: str) -> dict[str, Array]:
    """Initial parameters. The digest is part of the cache's key, as a bundle may be replaced under the same path."""
    tensors = _tensors(path)
    for value in tensors.values():
        value.flags.writeable = False
    return tensors


def _tensors(path: Path) -> dict[str, Array]:
    try:
        tensors: dict[str, Array] = load_tensors(path.read_bytes())
    except (OSError, SafetensorError) as reason:
        raise BundleError(f"{path} cannot be read: {reason}") from None
    return tensors
