"""The only place that reads settings: TOML checked by pydantic, one line for what is wrong. Results go out here."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from edge import codec, kinds, renames
from edge.errors import ConfigError
from edge.interfaces import DEVICE
from edge.privacy import Publish, as_it_is, publisher
from edge.specs import ProtocolSpec
from edge.storage import atomic

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Flag:
    """A shorter name for a field's flag, as metadata of its annotation: e.g. "--noise" for `privacy.noise`."""

    name: str


class Table(BaseModel):
    """A table of settings: unknown keys are refused, old names of keys accepted with a notice."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    RENAMED: ClassVar[Mapping[str, str]] = {}
    """old key -> new key"""

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        try:
            return renames.keys(values, cls.RENAMED)
        except ValueError as reason:
            raise PydanticCustomError("renamed", "{reason}", {"reason": str(reason)}) from None


class Codings(dict[str, str]):
    """Kind of message -> coding."""

    def __missing__(self, kind: str) -> str:
        raise ConfigError(
            f"a message of kind '{kind}' is to be sent, which no protocol declares: add it to the `kinds` of its SPEC"
        )


class Coding(Table):
    """How the bodies of messages are coded, by kind: a family in `edge/codec`, and its argument.

    Any declared kind is a key, those of plug-ins included; which there are shows when they are loaded (`by_kind`).
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, str] = Field(init=False)
    soft_labels: Annotated[str, Flag("--coding")] = "delta:3"
    """simplex:1|2|4|8, cuberoot:4|5|6, log:4|6|8, topk:1|3, delta:3|7|15|24, float16, float32 (docs/wire.md)"""
    weights: Annotated[str, Flag("--weight-coding")] = "float32"
    """float32, float16, int8-delta"""
    class_outputs: str = "float32"
    """as `soft_labels`, but for delta"""
    features: str = "float32"
    """float32, float16"""
    logits: str = "float32"
    """float32, float16"""
    samples: str = "float32"
    """float32, float16"""

    @model_validator(mode="before")
    @classmethod
    def _current(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {k: codec.canonical(v, f"coding.{k}") if isinstance(v, str) else v for k, v in values.items()}

    def by_kind(self) -> Codings:
        """Kind of message -> coding; the kind's own where the settings do not say.

        Raises ConfigError: no such kind or coding, or one that does not suit the other.
        """
        declared = kinds.declared()
        chosen = Codings({name: kind.coding for name, kind in declared.items()})
        for key, name in self.model_dump().items():
            kind = declared.get(key.replace("_", "-"))
            if kind is None or kind.fixed:
                free = ", ".join(k.replace("-", "_") for k, kind in declared.items() if not kind.fixed)
                raise ConfigError(f"coding.{key}: no such key; of these kinds the coding can be chosen: {free}")
            codec.find(name)
            carried = codec.carried(name)
            if carried is not None and not {kind.name, kind.like} & {*carried}:
                raise ConfigError(f"coding.{key}: {name} is for {', '.join(carried)}")
            chosen[kind.name] = name
        return chosen


class Privacy(Table):
    """What is done to distributions before they are sent (docs/trust.md)."""

    noise: Annotated[str | None, Flag("--noise")] = None
    """gaussian:SCALE or laplace:SCALE, added to every entry; `edge-bench privacy` computes what that guarantees"""
    temperature: Annotated[float, Flag("--temperature")] = Field(default=1.0, gt=0)
    """above 1 flattens distributions, below 1 sharpens them"""

    def publisher(self, role: str, key: int) -> Publish:
        """What does it; a centre has nothing to hide. Raises ConfigError: no such noise."""
        publish = publisher(self.noise, self.temperature, key)
        return publish if role == DEVICE else as_it_is


class Tls(Table):
    """Files for a broker with TLS, at mqtts://HOST:PORT."""

    ca: Path
    """certificate of the authority that signed the broker's"""
    certificate: Path
    """this device's certificate"""
    key: Path
    """its private key"""


class RunConfig(Table):
    """What a node does, wherever it runs: the part of the settings that `edge-node` and `edge-sim` share.

    `settings` is not here: a node's file has a table for its protocol, a scenario, which may compare protocols, one for
    each.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {"patience": "round_timeout", "robust": "aggregation"}
    protocol: str = "d-distillation"
    """the algorithm: one of docs/protocols.md"""
    topology: str = "ring"
    """ring, islands:K, complete, star, torus, random-regular:D, erdos-renyi:P, or a file with a line "a b" for each
    edge and comments after #; connected, but for islands"""
    data: str = "digits"
    """digits, npz:PATH, csv:PATH?label=NAME, parquet:PATH?label=NAME, images:FOLDER, wav:FOLDER, idx:FOLDER,
    python:MODULE:FUNCTION (docs/data.md), margin-stream:ROWS:DIMENSIONS:CONCEPTS:MARGIN (synthetic, its concept
    changes), cartpole (states of the game)"""
    holdout: str | None = None
    """rows for testing: by:COLUMN:N (all rows of N of its values, drawn by the seed), a number, a fraction, or none; if
    absent, as the source says, a fifth of a table that is not divided"""
    split: str | None = None
    """how the data is divided among the devices: iid, classes:K, dirichlet:A, primary:K:S (each has K labels that are
    1 + S times as likely), lacking:K:N:SIZE (each has SIZE samples, but only N of each of K labels), by:COLUMN"""
    reference: str = "300"
    """number of training rows that become the unlabelled reference set, or a source: npz:PATH, csv:PATH, ..."""
    coding: Coding = Coding()
    """how messages are coded, by kind"""
    privacy: Privacy = Privacy()
    """noise and temperature of what devices send"""
    aggregation: str | None = None
    """how the neighbours' distributions are mixed: agreement, mean, median, trimmed-mean:X, similarity:X; if absent,
    agreement with D-Distillation's weighted opinions, and mean otherwise (docs/trust.md)"""
    engine: str = "onnx-runtime"
    """what runs the training step: onnx-runtime, tflite, ort-training (docs/engines.md)"""
    threads: int | None = Field(default=None, ge=1)
    """threads of the engine, for one operator; if absent, as many as `edge-node tune` chose, or 1"""
    rounds: int = Field(default=100, ge=1)
    """number of rounds"""
    round_timeout: float = Field(default=30.0, gt=0)
    """seconds to wait for silent neighbours in a round"""
    evaluate_every: int = Field(default=1, ge=1)
    """rounds between evaluations on the test part of the data; the last is always evaluated, emulated the first, too"""
    seed: int = Field(default=0, ge=0)
    """of everything that is random; the same on every device"""

    @property
    def runtime(self) -> str:
        """The name of the engine that runs the step."""
        return self.engine


class NodeConfig(RunConfig):
    """Which node this is, and what is its own: a file of `edge-node`, whose paths are relative to it."""

    id: str = ""
    """the device's name, one of `peers`; a centre needs none, it is called as its role"""
    role: str = DEVICE
    """device; or server, coordinator: the centre of a protocol that has one"""
    fleet: str = "murmur"
    """the fleet's name in topics"""
    run: str | None = None
    """a name for this run of the fleet, the same on every device and another one for every run; without it, the devices
    agree on a number when they start (docs/reliability.md)"""
    broker: str = "mqtt://127.0.0.1:1883"
    """mqtt://HOST:PORT, or mqtts://HOST:PORT with `tls`"""
    tls: Tls | None = None
    """files for a broker at mqtts://"""
    peers: list[str] = Field(min_length=2)
    """every device of the fleet, this one included, in an order all agree on"""
    bundle: Path
    """folder of the devices' model, as edge-export wrote it"""
    centre_bundle: Path | None = None
    """folder of the centre's own model, on the centre of a protocol that gives it one"""
    settings: dict[str, Any] = {}
    """of the protocol (docs/protocols.md)"""
    rounds: int = Field(default=100, ge=0)
    """number of rounds; 0: without end"""
    store: str | None = None
    """learn from samples that arrive while it runs, instead of `data`: what is kept of them, ring:CAPACITY,
    reservoir:CAPACITY, class-balanced:CAPACITY or by-time:SECONDS:CAPACITY (docs/application.md)"""
    streams: list[str] = []
    """where samples come from, with `store`: csv:PATH?label=NAME, jsonl:PATH, folder:PATH, stdin,
    mqtt:TOPIC?broker=URL, python:MODULE:FUNCTION (docs/application.md)"""
    save: Literal["last", "best"] | None = None
    """write the trained model as model.onnx beside the checkpoints: at the end, or whenever it is better than before on
    the test part of the data"""
    home_assistant: bool = False
    """let Home Assistant find this device (MQTT discovery)"""
    checkpoint: Path | None = None
    """folder of the checkpoints, from which a node resumes; none are kept if absent"""


def write_text(path: Path, text: str) -> None:
    """All of the file, or nothing. Raises ConfigError."""
    try:
        atomic.write_text(path, text)
    except OSError as reason:
        raise ConfigError(f"cannot write {path}: {reason.strerror}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises ConfigError: not there, or not TOML."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as reason:
        raise ConfigError(f"cannot read {path}: {reason.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise ConfigError(f"{path} is not valid TOML: {reason}") from None


def checked(model: type[M], values: Mapping[str, Any], origin: str) -> M:
    """Validate `values`; raises ConfigError that lists every bad key with its path."""
    try:
        return model.model_validate(values)
    except ValidationError as reason:
        raise ConfigError(f"{origin}: {problems(reason)}") from None


def current(values: Mapping[str, Any], successors: Mapping[str, str], origin: str) -> dict[str, Any]:
    """Return the values under today's keys, e.g. before two tables are merged; `edge.renames.keys` for users.

    Raises:
        ConfigError: an old and a new name of one setting are both there.
    """
    try:
        return renames.keys(values, successors, origin)
    except ValueError as reason:
        raise ConfigError(f"{origin}: {reason}") from None


def merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with `over` laid on top: tables are merged, everything else is replaced."""
    result = dict(values)
    for key, value in over.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return result


def protocol_settings(spec: ProtocolSpec[Any], values: Mapping[str, Any], origin: str) -> Any:
    """Make the settings of a protocol of plain values. Raises ConfigError with the key's path."""
    known = [setting.name for setting in fields(spec.settings)]
    values = current(values, spec.renamed, origin)
    if unknown := sorted(values.keys() - {*known}):
        raise ConfigError(f"{origin}.{unknown[0]}: no such setting; there are: {', '.join(known)}")
    try:
        return TypeAdapter(spec.settings).validate_python(dict(values))
    except ValidationError as reason:
        raise ConfigError(f"{origin}: {problems(reason)}") from None


def problems(reason: ValidationError) -> str:
    """All that pydantic found, as `key.path: what (got ...)`, in one line."""
    lines = []
    for error in reason.errors():
        path = ".".join(map(str, error["loc"]))
        where = f"{path}: " if path else "" if error["type"] == "renamed" else "settings: "
        got = "" if error["type"] in ("missing", "extra_forbidden", "renamed") else f" (got {error['input']!r})"
        what = "no such key" if error["type"] == "extra_forbidden" else error["msg"]
        lines.append(f"{where}{what}{got}")
    return "; ".join(lines)
