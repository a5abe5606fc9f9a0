"""The only place that reads settings: TOML checked by pydantic, one line for what is wrong. Results go out here."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from edge import kinds, plugins, renames
from edge.errors import ConfigError
from edge.interfaces import DEVICE
from edge.privacy import Publish, as_it_is, publisher
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


class Coding(Table):
    """How the bodies of messages are coded, by kind; names of files in `edge/codec`."""

    soft_labels: str = "probability8"
    weights: str = "float32"
    class_outputs: str = "float32"
    features: str = "float32"
    logits: str = "float32"
    samples: str = "float32"

    def by_kind(self) -> dict[str, str]:
        """Kind of message -> coding. What is not for the user to choose is exact."""
        known = plugins.names("edge.codec")
        chosen = {kind.replace("_", "-"): name for kind, name in self.model_dump().items()}
        for kind, name in chosen.items():
            if name not in known:
                raise ConfigError(f"unknown coding '{name}'; there are: {', '.join(known)}")
            carried = getattr(plugins.load("edge.codec", name), "KINDS", (kind,))
            if kind not in carried:
                raise ConfigError(f"coding.{kind.replace('-', '_')}: {name} is for {', '.join(carried)}")
        return {name: kind.coding for name, kind in kinds.declared().items()} | chosen


class Privacy(Table):
    """What is done to soft labels before they are said (`edge.privacy`)."""

    noise: str | None = None
    """gaussian:S or laplace:B; `edge-bench privacy` says what that guarantees"""
    temperature: float = Field(default=1.0, gt=0)
    """above 1 flattens, below 1 sharpens"""

    def publisher(self, role: str, key: int) -> Publish:
        """What does it; a centre has nothing to hide. Raises ConfigError: no such noise."""
        made = publisher(self.noise, self.temperature, key)
        return made if role == DEVICE else as_it_is


class Tls(Table):
    """Files for a broker at mqtts://: its CA, and this device's certificate and key."""

    ca: Path
    certificate: Path
    key: Path


class NodeConfig(Table):
    """One device (`edge-node --config node.toml`). Paths are relative to the file."""

    RENAMED: ClassVar = {"patience": "round_timeout"}
    id: str = ""
    """may be left out where `role` says which node of the fleet this is"""
    role: str = DEVICE
    """device; or server, coordinator: the centre of a protocol that has one, whose id is its role"""
    fleet: str = "murmur"
    broker: str = "mqtt://127.0.0.1:1883"
    tls: Tls | None = None
    peers: list[str] = Field(min_length=2)
    """every device of the fleet, this one included, in an order all agree on"""
    topology: str = "ring"
    bundle: Path
    """of the devices' model"""
    centre_bundle: Path | None = None
    """of the centre's own model, on the centre of a protocol that gives it one"""
    data: str = "digits"
    split: str | None = None
    """take only this device's share of the data, by its place in `peers`; all of it if absent"""
    reference: str = "300"
    protocol: str = "d-distillation"
    settings: dict[str, Any] = {}
    coding: Coding = Coding()
    privacy: Privacy = Privacy()
    robust: str = "mean"
    """which of the neighbours' soft labels are believed: a name in `edge/robust`, with its argument"""
    engine: str = "onnx-runtime"
    threads: int | None = Field(default=None, ge=1)
    """of the engine; what `edge-node tune` found, or 1, if absent"""
    rounds: int = Field(default=100, ge=1)
    round_timeout: float = Field(default=30.0, gt=0)
    """seconds to wait for silent neighbours in a round"""
    seed: int = Field(default=0, ge=0)
    evaluate_every: int = Field(default=1, ge=1)
    """rounds between evaluations on the test part of the data"""
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


def protocol_settings(module: ModuleType, values: Mapping[str, Any], origin: str) -> Any:
    """The `Settings` of a protocol's module from plain values; raises ConfigError with the key's path."""
    known = module.Settings.__dataclass_fields__
    values = current(values, getattr(module, "RENAMED", {}), origin)
    if unknown := sorted(values.keys() - known.keys()):
        raise ConfigError(f"{origin}.{unknown[0]}: no such setting; there are: {', '.join(known)}")
    try:
        return TypeAdapter(module.Settings).validate_python(dict(values))
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
