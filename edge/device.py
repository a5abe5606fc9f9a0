"""One node of a fleet, put together: the same object, by the same code, on a board, in the emulator and in tests.

    FleetData   what all nodes agree on (graph, data, reference set), read from the settings
    engine      what trains a bundle on a node
    build       protocol, inbox and mailbox around an engine and a transport: a `Device`

>>> from edge.config import RunConfig
>>> fleet = read_fleet(RunConfig(data="margin-stream:100:5", reference="20", split="iid"), ["a", "b"])
>>> [len(y) for x, y in map(fleet.share, ["a", "b", "server"])]
[40, 40, 0]
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np

from edge import data, node, robust, split
from edge.algorithm import Algorithm
from edge.bundle import Bundle
from edge.config import RunConfig
from edge.data import Dataset
from edge.engines import ENGINES, NoModel
from edge.errors import ConfigError
from edge.graph import mixing
from edge.graph.topology import Topology
from edge.graph.topology import build as build_topology
from edge.interfaces import Aggregation, Array, Engine, NodeId, Protocol, ProtocolContext, Transport, everybody
from edge.labels import Classes
from edge.messaging.inbox import Inbox
from edge.messaging.mailbox import Mailbox, Waiting
from edge.messaging.run_identity import RunIdentity
from edge.node import Row
from edge.privacy import Publish, perturbation
from edge.reference import ReferenceSet, of
from edge.task import Task

ENDLESS = 2**32 - 1
"""The largest number of a round: what fits into a message's header."""


@dataclass(frozen=True)
class FleetData:
    """What all nodes of a fleet agree on, and how the data is divided among its devices.

    Attributes:
        names: of the devices, in the order that all agree on; a centre is not among them.
        topology: the graph of who talks to whom.
        weights: Metropolis weights of the graph, by device and neighbour.
        dataset: without the reference rows.
        reference: the public unlabelled samples.
        shares: rows of the training part, by device, in the order of `names`; sorted.
    """

    names: tuple[NodeId, ...]
    topology: Topology
    weights: mixing.Weights
    dataset: Dataset
    reference: ReferenceSet
    shares: tuple[Array, ...]

    def share(self, me: NodeId) -> tuple[Array, Array]:
        """Return a node's private samples (n, ...) and labels (n,); those of a centre have no rows."""
        x, y = self.dataset.x_train, self.dataset.y_train
        if me not in self.names:
            return x[:0], y[:0]
        rows = self.shares[self.names.index(me)]
        return (x, y) if len(rows) == len(x) else (x[rows], y[rows])  # all of it need not be there twice

    def only(self, me: NodeId) -> Self:
        """Return the same without the other nodes' private samples."""
        x, y = self.share(me)
        shares = tuple(np.arange(len(x) if name == me else 0) for name in self.names)
        return replace(self, dataset=replace(self.dataset, x_train=x, y_train=y), shares=shares)

    def featured(self, bundle: Bundle, threads: int) -> Self:
        """Return the same with all samples as the bundle's backbone turns them into features, if it has one."""
        if not bundle.manifest.backbone:
            return self
        from edge.backbone import featured  # only now: a device without a backbone may have no TFLite

        samples = self.dataset.x_train, self.dataset.x_test
        reference, (x_train, x_test) = featured(bundle, self.reference, samples, threads)
        return replace(self, reference=reference, dataset=replace(self.dataset, x_train=x_train, x_test=x_test))

    def context(self, algorithm: Algorithm, me: NodeId, bundle: Bundle, seed: int) -> ProtocolContext:
        """Return what a protocol is told about node `me`. bundle: of the devices' model. Raises ConfigError."""
        return algorithm.context(
            me,
            self.names,
            self.weights,
            self.share(me),
            self.reference,
            bundle,
            classes=self.dataset.classes,
            seed=seed,
        )


@dataclass(frozen=True)
class Device:
    """A node, ready for its rounds.

    Attributes:
        config: its settings.
        context: what its protocol was told about it.
        engine: its model, or `NoModel` for a centre without one.
        transport: connected.
        protocol: the algorithm, before its first round.
        mailbox: with the inbox for what the protocol accepts.
        aggregate: the aggregation rule, for messages that are distributions.
        publish: noise and temperature, for the same.
    """

    config: RunConfig
    context: ProtocolContext
    engine: Engine
    transport: Transport
    protocol: Protocol
    mailbox: Mailbox
    aggregate: Aggregation
    publish: Publish

    @property
    def id(self) -> NodeId:
        """Its name: in topics, and among its neighbours."""
        return self.context.me

    @property
    def inbox(self) -> Inbox:
        """Of the mailbox."""
        return self.mailbox.inbox

    def rounds(self, first: int = 1, linger: float = 0.0) -> Iterator[Waiting | Row]:
        """Play rounds `first` to the last, and then stay for whoever missed a message.

        Args:
            first: number of the first round; the protocol, engine and mailbox are as round `first` - 1 left them.
            linger: seconds to stay at most; 0 for not at all.

        Yields:
            A `Waiting` where it cannot go on without a neighbour; a row of metrics after each round.
        """
        join = self.mailbox.join(self._position, self.round_timeout)
        steps = node.rounds(
            self.protocol,
            self.engine,
            self.mailbox,
            first=first,
            last=self.config.rounds or ENDLESS,
            round_timeout=self.round_timeout,
            aggregate=self.aggregate,
            publish=self.publish,
        )
        end = self.mailbox.linger(self.config.rounds, linger) if linger else iter(())
        return chain(join, steps, end) if self.mailbox.identity.run == 0 else chain(steps, end)

    @property
    def _position(self) -> int:
        """In the fleet's order: a centre, which is everybody's neighbour, comes before all devices."""
        fleet = self.context.fleet
        return fleet.index(self.id) if self.id in fleet else 0

    @property
    def round_timeout(self) -> float:
        """Seconds it waits for silent neighbours in a round: a centre less than its devices."""
        return node.round_timeout(self.context, self.config.round_timeout)

    def accuracy(self, x: Array, y: Array) -> float:
        """Return the score of the task, its first metric; see `scores`."""
        return self.context.task.score(self.protocol.heads(self.engine, x, None)[-1], y)

    def scores(self, x: Array, y: Array) -> dict[str, float]:
        """Return the metrics of the task, by key, for what the protocol's last head gives samples x (n, ...)."""
        return self.context.task.scores(self.protocol.heads(self.engine, x, None)[-1], y)


def read_fleet(
    config: RunConfig,
    names: Sequence[NodeId],
    rows: int | None = None,
    classes: Classes | None = None,
    task: Task | None = None,
    *,
    tokens: bool = False,
) -> FleetData:
    """Read the data, divide it, and build the graph: everything a fleet's nodes have to agree on.

    Args:
        config: topology, data, reference, split (everybody has all of it if that is None) and seed.
        names: of the devices, in the order that all agree on.
        rows: of the training and of the test part, at most; all if absent.
        classes: what labels are read against (`edge.data.load`).
        task: what labels are for, likewise.
        tokens: whether the model takes token numbers.

    Raises:
        ConfigError, DataError: what does not fit, and with what.
    """
    graph = build_topology(config.topology, names, config.seed)
    whole = data.load(config.data, config.seed, classes, config.holdout, task, tokens=tokens)
    if rows is not None:
        whole = data.subsample(whole, rows, config.seed)
    reference, private = data.take_reference(config.reference, whole, config.seed)
    shares = [np.arange(len(private.y_train))] * len(names)
    if config.split is not None:
        strata = whole.task.strata(private.y_train, private.y_train)
        shares = split.divide(config.split, strata, private.columns, len(names), config.seed)
    return FleetData(tuple(names), graph, mixing.metropolis(graph), private, reference, tuple(shares))


def observed_fleet(
    config: RunConfig, names: Sequence[NodeId], samples: tuple[Array, Array], classes: Classes
) -> FleetData:
    """Build the graph and read the reference set of a node whose private samples arrive while it runs.

    Args:
        config: topology, reference (a source, or nobody needs one: there are no rows to take it from) and seed.
        names: of the devices, in the order that all agree on.
        samples: x (n, ...) and y (n, ...), those that have arrived before.
        classes: of the model.

    Raises:
        ConfigError, DataError: what does not fit, and with what.
    """
    graph = build_topology(config.topology, names, config.seed)
    x, y = samples
    class_names = classes.names or tuple(map(str, range(classes.count)))
    private = Dataset(x, y, x[:0], y[:0], class_names)
    if config.reference.isdecimal():  # nobody talks about one, or `Installation` would have refused
        reference = of(x[:0])
    else:
        reference, private = data.take_reference(config.reference, private, config.seed)
    shares = (np.arange(len(x)),) * len(names)
    return FleetData(tuple(names), graph, mixing.metropolis(graph), private, reference, shares)


def engine(config: RunConfig, bundle: Bundle | None, context: ProtocolContext, home: Path | None = None) -> Engine:
    """Make the engine of a node.

    Args:
        config: the engine's name, and its threads.
        bundle: what the node trains; None for a centre without a model.
        context: the node's, for its seed.
        home: the node's folder, for what an engine keeps from one start to the next.

    Raises:
        ConfigError, BundleError: there is no such engine, or it cannot run this bundle.
    """
    if bundle is None:
        return NoModel()
    return ENGINES.load(config.runtime).create(bundle, threads=config.threads, seed=context.seed, home=home)


def build(
    config: RunConfig,
    create: Callable[[ProtocolContext], Protocol],
    context: ProtocolContext,
    engine: Engine,
    transport: Transport,
    now: Callable[[], float],
    *,
    aggregation: str = "mean",
    noise_key: int = 0,
    identity: RunIdentity | None = None,
) -> Device:
    """Put a node together.

    Args:
        config: coding, privacy, aggregation, rounds and timeouts.
        create: makes the protocol, as `Algorithm.create` does.
        context: what the protocol is told, but for noise and aggregation, which come from `config`.
        engine: of the node's model.
        transport: connected.
        now: the node's clock, in seconds: `time.monotonic`, or virtual time.
        aggregation: the rule that suits the protocol (`Algorithm.aggregation`), where `config` names none.
        noise_key: what noise is drawn from (`edge.privacy.secret`).
        identity: the run that it takes part in; that of an emulated fleet if absent.

    Returns:
        The node before its first round. Nothing has been sent or computed.

    Raises:
        ConfigError: a setting that cannot be.
    """
    _refuse_inapplicable(config, context)
    publish = config.privacy.publisher(context.role, noise_key)
    aggregate = robust.load(aggregation if config.aggregation is None else config.aggregation, context.classes)
    context = replace(context, perturb=perturbation(publish), aggregate=aggregate)
    protocol = create(context)
    mailbox = Mailbox(transport, Inbox(protocol.accepts(), identity), config.coding.by_kind(), now)
    return Device(config, context, engine, transport, protocol, mailbox, aggregate, publish)


def _refuse_inapplicable(config: RunConfig, context: ProtocolContext) -> None:
    """Refuse what is for distributions where the model's outputs are none. Raises ConfigError."""
    if context.task.simplex:
        return
    privacy, settings = config.privacy, []
    settings += [f"privacy.noise '{privacy.noise}'"] if privacy.noise else []
    settings += [f"privacy.temperature {privacy.temperature:g}"] if privacy.temperature != 1 else []
    rule = config.aggregation
    settings += [f"aggregation '{rule}'"] if rule is not None and robust.load(rule) is not everybody else []
    if settings:
        raise ConfigError(
            f"{settings[0]} applies to distributions over classes; the outputs of a model for {context.task.name} are "
            "none: leave it out"
        )
