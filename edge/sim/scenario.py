"""What to emulate: the keys of a scenario file, which are the flags of `edge-sim`."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge import plugins
from edge.config import Coding, checked, protocol_settings, read_toml
from edge.errors import ConfigError


class Scenario(BaseModel):
    """One emulation. Unknown keys and impossible values are errors with the key's path."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    devices: int = Field(default=8, ge=2)
    topology: str = "ring"
    """ring, complete, star, torus, random-regular:D, erdos-renyi:P, or a file of edges"""
    protocol: str = "d-distillation"
    compare: tuple[str, ...] = ()
    """protocols to run afterwards on the same data, for a table side by side"""
    data: str = "digits"
    """digits, npz:PATH, idx:DIR"""
    split: str = "iid"
    """iid, classes:K, dirichlet:A, by:COLUMN"""
    reference: str = "300"
    """how many training rows become the unlabelled reference set, or npz:PATH"""
    model: str = "zoo:mlp"
    """zoo:NAME[:ARGUMENT], a bundle's folder, or an ONNX file"""
    optimizer: str = "sgd"
    rounds: int = Field(default=100, ge=1)
    seed: int = Field(default=0, ge=0)
    transport: Literal["memory", "mqtt"] = "memory"
    broker: str | None = None
    """mqtt://HOST:PORT of a broker that runs already; one is started for the occasion if absent"""
    coding: Coding = Coding()
    settings: dict[str, dict[str, Any]] = {}
    """protocol -> its settings"""
    engine: str = "onnx-runtime"
    threads: int = Field(default=1, ge=1)
    patience: float = Field(default=30.0, gt=0)
    """seconds to wait for silent neighbours (virtual seconds with the memory transport)"""
    evaluate_every: int = Field(default=1, ge=1)
    """rounds between evaluations on the test set; the first and the last round are always evaluated"""

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocol, then those it is compared with."""
        return (self.protocol, *(p for p in self.compare if p != self.protocol))

    def settings_of(self, protocol: str) -> Any:
        """The protocol's checked settings."""
        module = plugins.load("edge.protocols", protocol)
        return protocol_settings(module, self.settings.get(protocol, {}), f"settings.{protocol}")


def read(path: Path | None, flags: dict[str, Any]) -> Scenario:
    """A scenario from a file (if any), with the flags given on the command line on top.

    Raises:
        ConfigError: naming every bad key.
    """
    values = read_toml(path) if path else {}
    for key, value in flags.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            inner = values[key]
            merged = {k: {**inner.get(k, {}), **v} if isinstance(v, dict) else v for k, v in value.items()}
            values[key] = {**inner, **merged}
        else:
            values[key] = value
    scenario = checked(Scenario, values, str(path) if path else "edge-sim")
    for name in scenario.protocols:
        scenario.settings_of(name)
    if stray := sorted(set(scenario.settings) - set(plugins.names("edge.protocols"))):
        known = ", ".join(plugins.names("edge.protocols"))
        raise ConfigError(f"settings.{stray[0]}: no such protocol; there are: {known}")
    plugins.load("edge.engines", scenario.engine)
    scenario.coding.by_kind()
    if scenario.broker and scenario.transport != "mqtt":
        raise ConfigError(f"broker: {scenario.broker} is given, but transport is 'memory'; say --transport mqtt")
    return scenario
