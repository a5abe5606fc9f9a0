"""What to emulate: the keys of a scenario file, which are the flags of `edge-sim`."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from edge import algorithm
from edge.algorithm import Algorithm
from edge.config import RunConfig
from edge.errors import ConfigError
from edge.task import Task, task
from edge_sim import attacks
from edge_sim.conditions import Absence, Link, On, Partition, choose


class Scenario(RunConfig):
    """What is emulated around the nodes: a file of `edge-sim`.

    Four defaults differ from a node's. `split` is iid and not none, because one data set has to be divided among
    emulated devices, where a board has its own. `threads` is 1 and not as tuned: a result must not depend on who tuned
    what. `broker` and `fleet` are absent, because a fleet in memory has none, and one over a broker gets its own.
    """

    RENAMED: ClassVar[Mapping[str, str]] = {**RunConfig.RENAMED, "loss": "packet_loss", "liars": "byzantine"}
    devices: int = Field(default=8, ge=2)
    """number of devices"""
    compare: tuple[str, ...] = ()
    """further protocols to run on the same data, for a table side by side"""
    rows: int | None = Field(default=None, ge=2)
    """at most so many rows of the training part and of the test part, drawn by the seed; all if absent"""
    split: str = "iid"
    model: str | tuple[str, ...] = "zoo:mlp"
    """zoo:NAME[:ARGUMENT], a bundle's folder, or an ONNX file; the zoo has for anything mlp, linear, for images
    small-cnn, lenet, resnet8, resnet20, resnet56, resnet110, gkt-edge, mobilenet-v2, tiny-transformer, for spectrograms
    ds-cnn, for sensor windows tcn, gru, tiny-transformer; of a list, device i has the (i mod length)-th"""
    task: str | None = None
    """what the labels of a file are for: classification, multi-label, regression, per-position; if absent, what a
    bundle or the data set says, or classification (docs/objectives.md)"""
    supervision: str | None = None
    """the term that learns from labels, e.g. huber[0.5], focal, smoothed_cross_entropy; if absent the task's own:
    cross_entropy, binary_cross_entropy, mean_squared_error, position_cross_entropy"""
    split_at: str | None = None
    """the value of the graph at which `fedgkt` cuts the model in two"""
    edge_model: str | None = None
    """with `split_at`: the devices' model, if it is not the first part of `model`"""
    standardize: Literal["auto", "always", "never"] = "auto"
    """scale the input inside the model, by the reference set (docs/data.md): auto does, but for models that take token
    numbers and for bundles, which are trained as they were exported"""
    optimizer: str | None = None
    """sgd, momentum, nesterov, rmsprop, adam, amsgrad, adamw; if absent, nesterov with gradients clipped to a norm of 1
    for d-distillation by cross-entropy, and sgd for all else and with ort-training"""
    transport: Literal["memory", "mqtt"] = "memory"
    """memory (virtual time, reproducible), or mqtt (a real broker)"""
    broker: str | None = None
    """mqtt://HOST:PORT of a running broker; if absent, a temporary one is started"""
    fleet: str | None = None
    """the fleet's name in topics, with mqtt, for subscribers such as `edge-broker dashboard`; random if absent"""
    settings: dict[str, dict[str, Any]] = Field(default={})
    """a table for each protocol (docs/protocols.md)"""
    byzantine: str | None = None
    """label-flip:N, random:N, extreme:N, targeted:N, drift:N: the first N devices send something else than they should
    (docs/trust.md); accuracies are of the others"""
    engine: str = "onnx-runtime"
    """what runs the training step: onnx-runtime, tflite, ort-training (docs/engines.md); ray, or ray:ENGINE, spreads
    the devices over a Ray cluster (docs/emulator.md)"""
    threads: int = Field(default=1, ge=1)
    """threads of the engine, for one operator"""
    workers: int = Field(default=1, ge=1)
    """devices that compute at the same time, in threads; results are the same with any number. Pays for convolutions
    (1.2 to 1.5 times the rounds on two cores), not for small MLPs; ONNX Runtime only"""
    uplink: float | None = Field(default=None, gt=0)
    """kbit/s from a device to the broker, with memory; endless if absent. A message then takes its time (`link_seconds`
    of a round)"""
    downlink: float | None = Field(default=None, gt=0)
    """kbit/s from the broker to a device, likewise; a centre's links are always endless"""
    latency: float = Field(default=0.0, ge=0)
    """seconds from sender to receiver, beside the time that the bytes take; like all that follows, with memory"""
    jitter: float = Field(default=0.0, ge=0)
    """additional seconds, uniform from 0 to this"""
    packet_loss: float = Field(default=0.0, ge=0, lt=1)
    """fraction of the messages that never arrive"""
    duplication: float = Field(default=0.0, ge=0, lt=1)
    """fraction of the messages that arrive twice"""
    links: tuple[Link, ...] = ()
    """other links of some devices, or in one direction between some; the later table counts"""
    partitions: tuple[Partition, ...] = ()
    """times in which groups of devices cannot reach one another"""
    board: str | None = None
    """what devices compute on: pi-zero-2-w, pi-3, pi-4, pi-5; computing takes no time if absent"""
    boards: tuple[On, ...] = ()
    """other boards of some devices; the later table counts"""
    replay: str | None = None
    """folder of a field test's metrics (firmware_scripts.field collect): devices compute as long as its boards did"""
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
        boards = dict.fromkeys(range(self.devices), self.board) if self.board else {}
        for number, table in enumerate(self.boards):
            chance = np.random.default_rng([self.seed, 14, number])
            boards |= dict.fromkeys(choose(table.of, self.devices, chance), table.board)
        return boards

    def evaluated(self, number: int) -> bool:
        """Whether devices are evaluated after that round."""
        return number % self.evaluate_every == 0 or number in (1, self.rounds)

    @property
    def labels(self) -> Task | None:
        """The task, if one is named. Raises ConfigError."""
        return None if self.task is None else task(self.task)

    @property
    def protocols(self) -> tuple[str, ...]:
        """The protocol, then those it is compared with."""
        return (self.protocol, *(p for p in self.compare if p != self.protocol))

    def algorithm(self, protocol: str) -> Algorithm:
        """The protocol with its checked settings, and fit for these models."""
        chosen = algorithm.load(protocol, self.settings.get(protocol, {}), f"settings.{protocol}")
        if chosen.spec.same_model and len(self.models) > 1:
            raise ConfigError(f"model: {protocol} exchanges weights, so that all devices need the same model")
        if chosen.spec.data not in (None, self.data):
            raise ConfigError(f"data: {protocol} runs on '{chosen.spec.data}' only, not on '{self.data}'")
        if chosen.split and self.split_at is None:
            raise ConfigError(f"split_at: {protocol} cuts the model in two; say where, by the name of a value")
        chosen.refuse_inapplicable(self.privacy, self.aggregation, self.coding)
        if self.byzantine:
            chosen.refuse_attack(f"byzantine '{self.byzantine}'", attacks.load(self.byzantine).applies)
        return chosen
