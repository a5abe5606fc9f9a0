"""What to emulate: the keys of a scenario file, which are the flags of `edge-sim`."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from edge import algorithm
from edge.algorithm import Algorithm
from edge.config import RunConfig
from edge.errors import ConfigError
from edge_sim import lies
from edge_sim.conditions import Absence, Link, On, Partition, choose


class Scenario(RunConfig):
    """One emulation. Unknown keys and impossible values are errors with the key's path."""

    RENAMED: ClassVar[Mapping[str, str]] = {**RunConfig.RENAMED, "loss": "packet_loss"}
    devices: int = Field(default=8, ge=2)
    """how many"""
    compare: tuple[str, ...] = ()
    """protocols to run afterwards on the same data, for a table side by side"""
    rows: int | None = Field(default=None, ge=2)
    """use at most so many rows of the training part, and as many of the test part, drawn by the seed; all if absent"""
    split: str = "iid"
    """how the data is divided among the devices: iid, classes:K, dirichlet:A, primary:K:S, lacking:K:N:SIZE, by:COLUMN.
    A node's file leaves it out where the device already holds its own data; an emulated fleet always divides one set"""
    model: str | tuple[str, ...] = "zoo:mlp"
    """zoo:NAME[:ARGUMENT], a bundle's folder, or an ONNX file; of several, device i has the (i mod their number)-th"""
    split_at: str | None = None
    """the value at which a protocol that cuts the model in two (fedgkt) does it"""
    edge_model: str | None = None
    """with split_at: the devices' model, if it is not the first part of `model`"""
    optimizer: str = "sgd"
    transport: Literal["memory", "mqtt"] = "memory"
    broker: str | None = None
    """mqtt://HOST:PORT of a broker that runs already; one is started for the occasion if absent"""
    fleet: str | None = None
    """its name in topics, for whoever listens at the broker (edge-broker dashboard); drawn if absent"""
    settings: dict[str, dict[str, Any]] = Field(default={})
    """protocol -> its settings"""
    liars: str | None = None
    """label-flip:N, random:N: the first N devices say something else than they believe; accuracies are of the others"""
    engine: str = "onnx-runtime"
    """what runs the step; ray, or ray:ENGINE, spreads the devices over a Ray cluster"""
    threads: int = Field(default=1, ge=1)
    """of the engine, for one operator; 1 and not "as tuned", because a result should not depend on who tuned what"""
    workers: int = Field(default=1, ge=1)
    """devices that compute at the same time, in threads; results are the same with any number. Two, on two cores, gave
    1.2 to 1.5 times the rounds with convolutions, and no more, or fewer, with small MLPs, which are mostly Python"""
    uplink: float | None = Field(default=None, gt=0)
    """kbit/s from a device to the broker; endless if absent (with the memory transport)"""
    downlink: float | None = Field(default=None, gt=0)
    """kbit/s from the broker to a device"""
    latency: float = Field(default=0.0, ge=0)
    """seconds from sender to receiver, beside the time the bytes take; this and all that follows with memory only"""
    jitter: float = Field(default=0.0, ge=0)
    """seconds at most, drawn evenly, on top"""
    packet_loss: float = Field(default=0.0, ge=0, lt=1)
    """fraction of the messages that never arrive"""
    duplication: float = Field(default=0.0, ge=0, lt=1)
    """fraction of the messages that arrive twice"""
    links: tuple[Link, ...] = ()
    """other links of some devices, or in one direction between some; the later table counts"""
    partitions: tuple[Partition, ...] = ()
    """times in which groups of devices cannot reach one another"""
    board: str | None = None
    """what devices compute on, a name of edge_sim/boards; computing takes no time if absent"""
    boards: tuple[On, ...] = ()
    """other boards of some devices; the later table counts"""
    replay: str | None = None
    """folder of a field test's metrics (firmware_scripts.field collect): devices compute as long as they did then"""
    absences: tuple[Absence, ...] = ()
    """devices that join late, crash, sleep, or leave"""
    convergence: int = Field(default=0, ge=0)
    """rounds between measurements of the gradient norm and the consensus error; 0 for none"""

    @property
    def models(self) -> tuple[str, ...]:
        """Every architecture that is asked for, once."""
        return (self.model,) if isinstance(self.model, str) else tuple(dict.fromkeys(self.model))

    def model_of(self, index: int) -> str:
        """The model of the device of that number."""
        return self.model if isinstance(self.model, str) else self.model[index % len(self.model)]

    @property
    def on_ray(self) -> bool:
        """Whether nodes are spread over a Ray cluster."""
        return self.engine.partition(":")[0] == "ray"

    @property
    def runtime(self) -> str:
        """The name of the engine that runs the step, wherever it does."""
        return (self.engine.partition(":")[2] or "onnx-runtime") if self.on_ray else self.engine

    @property
    def timed(self) -> bool:
        """Whether anything takes virtual time but waiting for the silent."""
        common = self.uplink or self.downlink or self.latency or self.jitter or self.packet_loss or self.duplication
        return bool(
            common or self.links or self.partitions or self.absences or self.boards or self.board or self.replay
        )

    @property
    def lossy(self) -> bool:
        """Whether a message may be lost, or a device miss one."""
        lost = any(link.packet_loss for link in self.links) or any(partition.lost for partition in self.partitions)
        return bool(self.packet_loss or self.absences or lost)

    def boards_by_device(self) -> dict[int, str]:
        """Device number -> its board, of those that have one. Raises ConfigError."""
        found = dict.fromkeys(range(self.devices), self.board) if self.board else {}
        for number, table in enumerate(self.boards):
            chance = np.random.default_rng([self.seed, 14, number])
            found |= dict.fromkeys(choose(table.of, self.devices, chance), table.board)
        return found

    def evaluated(self, number: int) -> bool:
        """Whether devices are evaluated after that round."""
        return number % self.evaluate_every == 0 or number in (1, self.rounds)

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocol, then those it is compared with."""
        return (self.protocol, *(p for p in self.compare if p != self.protocol))

    def algorithm(self, protocol: str) -> Algorithm:
        """The protocol with its checked settings, and fit for these models."""
        found = algorithm.load(protocol, self.settings.get(protocol, {}), f"settings.{protocol}")
        if found.spec.same_model and len(self.models) > 1:
            raise ConfigError(f"model: {protocol} exchanges weights, so that all devices need the same model")
        if found.spec.data not in (None, self.data):
            raise ConfigError(f"data: {protocol} runs on '{found.spec.data}' only, not on '{self.data}'")
        if found.split and self.split_at is None:
            raise ConfigError(f"split_at: {protocol} cuts the model in two; say where, by the name of a value")
        found.refuse_inapplicable(self.privacy, self.robust, self.coding)
        if self.liars:
            found.refuse_attack(f"liars '{self.liars}'", lies.load(self.liars.partition(":")[0]).applies)
        return found
