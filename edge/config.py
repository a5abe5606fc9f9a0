"""The only place that reads settings: TOML checked by pydantic, one line for what is wrong. Results go out here."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from edge import codec, kinds, renames
from edge.errors import ConfigError
from edge.interfaces import DEVICE
from edge.privacy import Publish, as_it_is, publisher
from edge.specs import ProtocolSpec
from edge.storage import atomic

M = TypeVar("M", bound=BaseModel)


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
    soft_labels: str = "simplex:8"
    weights: str = "float32"
    class_outputs: str = "float32"
    features: str = "float32"
    logits: str = "float32"
    samples: str = "float32"

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
                raise ConfigError(f"coding.{key}: no kind of message whose coding can be chosen; there are: {free}")
            codec.find(name)
            carried = codec.carried(name)
            if carried is not None and not {kind.name, kind.like} & {*carried}:
                raise ConfigError(f"coding.{key}: {name} is for {', '.join(carried)}")
            chosen[kind.name] = name
        return chosen


class Privacy(Table):
    """What is done to distributions before they are sent (`edge.privacy`)."""

    noise: str | None = None
    """gaussian:S or laplace:B; `edge-bench privacy` says what that guarantees"""
    temperature: float = Field(default=1.0, gt=0)
    """above 1 flattens, below 1 sharpens"""

    def publisher(self, role: str, key: int) -> Publish:
        """What does it; a centre has nothing to hide. Raises ConfigError: no such noise."""
        publish = publisher(self.noise, self.temperature, key)
        return publish if role == DEVICE else as_it_is


class Tls(Table):
    """Files for a broker at mqtts://: its CA, and this device's certificate and key."""

    ca: Path
    certificate: Path
    key: Path


class RunConfig(Table):
    """What a node does, wherever it runs: the part of the settings that `edge-node` and `edge-sim` share.

    `settings` is not here: a node's file has a table for its protocol, a scenario, which may compare protocols, one for
    each.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {"patience": "round_timeout"}
    protocol: str = "d-distillation"
    """name of a file in `edge/protocols`"""
    topology: str = "ring"
    """ring, islands:K, complete, star, torus, random-regular:D, erdos-renyi:P, or a file with a line "a b" an edge"""
    data: str = "digits"
    """digits, npz:PATH, idx:DIR, margin-stream:..., cartpole"""
    split: str | None = None
    """how the data is divided among the devices: iid, classes:K, dirichlet:A, primary:K:S, lacking:K:N:SIZE, by:COLUMN;
    not at all if absent"""
    reference: str = "300"
    """how many training rows become the unlabelled reference set, or npz:PATH"""
    coding: Coding = Coding()
    """how messages are coded, by kind"""
    privacy: Privacy = Privacy()
    """noise and temperature of what devices send"""
    robust: str = "mean"
    """aggregation rule, which says whose soft labels are mixed: mean, median, trimmed-mean:X, similarity:X"""
    engine: str = "onnx-runtime"
    """what runs the training step: name of a file in `edge/engines`"""
    threads: int | None = Field(default=None, ge=1)
    """of the engine; as `edge-node tune` found, or 1, if absent"""
    rounds: int = Field(default=100, ge=1)
    """number of the last round"""
    round_timeout: float = Field(default=30.0, gt=0)
    """seconds to wait for silent neighbours in a round"""
    evaluate_every: int = Field(default=1, ge=1)
    """rounds between evaluations on the test part of the data"""
    seed: int = Field(default=0, ge=0)
    """of everything that is random"""

    @property
    def runtime(self) -> str:
        """The name of the engine that runs the step."""
        return self.engine


class NodeConfig(RunConfig):
    """One device (`edge-node --config node.toml`). Paths are relative to the file."""

    id: str = ""
    """may be left out where `role` says which node of the fleet this is"""
    role: str = DEVICE
    """device; or server, coordinator: the centre of a protocol that has one, whose id is its role"""
    fleet: str = "murmur"
    broker: str = "mqtt://127.0.0.1:1883"
    tls: Tls | None = None
    peers: list[str] = Field(min_length=2)
    """every device of the fleet, this one included, in an order all agree on"""
    bundle: Path
    """of the devices' model"""
    centre_bundle: Path | None = None
    """of the centre's own model, on the centre of a protocol that gives it one"""
    settings: dict[str, Any] = {}
    """of the protocol"""
    home_assistant: bool = False
    """whether Home Assistant is told of this device (MQTT discovery)"""
    checkpoint: Path | None = None
    """folder of the checkpoint; none is kept if absent"""


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
