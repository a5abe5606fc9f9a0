"""A node that runs: connected, resumed, its rounds played, kept and reported; by `edge-node` and `Node` alike."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast
from typing import Protocol as Interface

from edge import checkpoint, outcome
from edge.application import saved_model
from edge.application.shared_engine import SharedEngine
from edge.checkpoint import Owner
from edge.device import Device
from edge.errors import ConfigError
from edge.installation import Installation, Parts
from edge.interfaces import DEVICE, Array, Metrics, ProtocolContext, Transport
from edge.messaging.mailbox import Waiting
from edge.node import Row, run, telemetry
from edge.operations import health, home_assistant, systemd
from edge.operations.remote import AdministeredTransport
from edge.operations.rollout import Installer
from edge.storage import metrics_log
from edge.transports import mqtt

if TYPE_CHECKING:
    from edge.application.intake import Intake
    from edge.storage.sample_store import SampleStore

MODEL = "model.onnx"
"""what `save` writes, beside the checkpoints"""
NAP = 1.0
"""Seconds for which a node without new samples sleeps before it looks again."""
MOST_LOSSES = 100_000
"""Losses that are remembered, to say in the end whether they have fallen."""
_log = logging.getLogger(__name__)


class Stopped(Exception):
    """Somebody asked the node to stop; raised by `alive`, and ended by `Session.rows`."""


class Growing(Interface):
    """A protocol whose samples may be replaced between rounds (`ProtocolSpec.growing`)."""

    context: ProtocolContext


@dataclass
class Session:
    """A node between its start and its end. Make one with `start`.

    Attributes:
        node: its settings.
        parts: what it is made of.
        device: protocol, engine and mailbox; its engine may be used from other threads.
        first: number of the first round to play.
        owner: whose state its checkpoints hold.
        store: samples that arrive; None for a node that has all from the start.
        latest: row of the round last finished; empty before the first.
    """

    node: Installation
    parts: Parts
    device: Device
    first: int
    owner: Owner
    store: "SampleStore | None" = None
    failures: int = 0
    best: float | None = None
    version: int = -1
    latest: Row = field(default_factory=dict)
    intakes: list["Intake"] = field(default_factory=list)
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_LOSSES))

    def rows(self, alive: Callable[[], None] = lambda: None, interval: float = 30.0) -> Iterator[Row]:
        """Play to the last round, or until `alive` raises `Stopped`.

        Args:
            alive: called at every step, and every `interval` seconds while the node waits.
            interval: seconds.

        Yields:
            A row of metrics after each round, when it has been kept and reported.
        """
        config, home = self.node.config, self.node.home
        steps = self.device.rounds(self.first, linger=config.round_timeout if config.rounds else 0.0)
        try:
            for row in run(self._awake(steps, alive), self.device.transport, time.monotonic, alive, interval):
                self._keep(row)
                if (loss := outcome.supervised_loss(row)) is not None:
                    self.losses.append(loss)
                self._complete(row)
                self.device.transport.report(row)
                if home:
                    metrics_log.append(home, row)
                self.latest = row
                systemd.notify(f"STATUS=round {row['round']:.0f} of {config.rounds or 'many'}")
                yield row
        except Stopped:
            return
        finally:
            if config.save == "last":
                self._save()

    def _awake(self, steps: Iterator[Waiting | Row], alive: Callable[[], None]) -> Iterator[Waiting | Row]:
        """The steps; before each round, the samples are renewed, and slept for if there are no new ones."""
        if self.store is None:
            yield from steps
            return
        self._renew(self.store, alive)
        for step in steps:
            yield step
            if not isinstance(step, Waiting):
                self._renew(self.store, alive)

    def _renew(self, store: "SampleStore", alive: Callable[[], None]) -> None:
        """Hand the protocol what is new; without anything new sleep until there is, or a neighbour begins a round."""
        transport = self.device.transport
        end = time.monotonic() + self.node.config.round_timeout
        while store.version == self.version and time.monotonic() < end and not transport.wait(NAP):
            alive()
        protocol = cast(Growing, self.device.protocol)
        context, version = protocol.context, store.version  # before the samples: one that comes now counts next time
        if version == self.version:  # nothing to learn from: the device answers its neighbours, and does not train
            x, y = context.x[:0], context.y[:0]
        else:
            x, y = store.arrays()
        self.version = version
        protocol.context = replace(context, x=x, y=y)

    def _keep(self, row: Row) -> None:
        """Write the checkpoint. Raises ConfigError: not even the first can be written."""
        home = self.node.home
        if home is None:
            return
        try:
            device, number = self.device, int(row["round"])
            checkpoint.write(home, number, device.engine, device.protocol, device.mailbox, self.owner)
        except ConfigError as reason:
            if int(row["round"]) == 1:
                raise  # nothing is lost yet, and somebody is there to put it right
            if not self.failures:  # a full card is no reason to stop learning
                _log.warning("%s; the checkpoint before it stays, and every round tries again", reason)
            self.failures += 1
        if self.failures:
            row["checkpoints_failed"] = float(self.failures)

    def _complete(self, row: Row) -> None:
        """Add to a round's row what is not of the round: scores, traffic, and how the board is."""
        device, config, test = self.device, self.node.config, self.parts.fleet.dataset
        last = 0 < config.rounds <= row["round"]
        due = row["round"] % config.evaluate_every == 0 or last
        if device.context.role == DEVICE and due and len(test.y_test):
            scores = device.scores(test.x_test, test.y_test)
            row |= {f"{key}_all": value for key, value in scores.items()}
            score = next(iter(scores.values()))
            if config.save == "best" and (self.best is None or score > self.best):
                self.best = score
                self._save()
        if device.context.role == DEVICE and last:  # whether losses have fallen shows if all of them are known
            losses = list(self.losses) if self.first == 1 else ()
            row |= outcome.judge(row.get("accuracy_all"), test.y_test, test.classes, losses)
        row |= telemetry(device.transport.traffic, device.inbox.refusals)
        row |= health.read(self.node.folder)
        row["run"] = float(device.mailbox.identity.run)

    def _save(self) -> None:
        """Write the model; a full card is no reason to stop learning."""
        home, bundle = self.node.home, self.parts.bundle
        if home is None or bundle is None:  # refused at the start
            return
        try:
            saved_model.save(bundle, self.device.engine.parameters(), home / MODEL)
        except ConfigError as reason:
            _log.warning("%s; the model before it stays", reason)

    def predict(self, x: Array) -> Array:
        """Return what the device answers: outputs (n, K) of the head for its own samples, of x (n, ...)."""
        outputs: Array = self.device.protocol.heads(self.device.engine, x, None)[0]
        return outputs

    @property
    def learnt(self) -> bool:
        """Whether a round has been finished, so that the model knows something."""
        return self.first > 1 or bool(self.latest)

    def close(self) -> None:
        """Leave the fleet."""
        for intake in self.intakes:
            intake.close()
        self.device.transport.close()
        if self.node.home:
            metrics_log.close_log(self.node.home)


def start(node: Installation, store: "SampleStore | None" = None, *, fresh: bool = False) -> Session:
    """Connect a node, and resume it where its checkpoint says.

    Args:
        node: its settings.
        store: samples that arrive; None for a node that reads all of its data now.
        fresh: let the broker forget what it has kept for this node.

    Returns:
        The node before its next round.

    Raises:
        MurmurError: what cannot be, or does not fit.
    """
    config, home = node.config, node.home
    parts = node.parts(samples=None if store is None else store.arrays())
    require_savable(node, parts)
    intakes = _intakes(node, parts, store)
    engine = SharedEngine(node.engine(parts))
    broker = mqtt.create(url=config.broker, fleet=config.fleet, me=config.id, credentials=node.credentials, fresh=fresh)
    if config.home_assistant:
        broker.retain(home_assistant.discovery(config.fleet, config.id, parts.context.task))
    transport = _administered(broker, node)
    try:
        device = node.device(parts, engine, transport)
        owner = Owner(config.id, config.fleet, device.context.model_digest.hex())
        first = 1 + (checkpoint.resume(home, engine, device.protocol, device.mailbox, owner) if home else 0)
        broker.watch(name for name, _ in device.inbox.neighbours())
        best = _best(metrics_log.read(home), parts) if home and config.save == "best" and first > 1 else None
        if home:
            metrics_log.log_to(home)
        systemd.notify("READY=1")
    except BaseException:
        transport.close()
        raise
    latest = metrics_log.latest(home) if home and first > 1 else {}
    for intake in intakes:
        intake.start()
    return Session(node, parts, device, first, owner, store, best=best, latest=latest, intakes=intakes)


class LiveModel:
    """The model of a node that learns in this process, for whoever asks it (`edge.application.service.Predictor`).

    Raises:
        ConfigError: such a node predicts nothing.
    """

    def __init__(self, session: Session) -> None:
        bundle = session.parts.bundle
        if bundle is None or session.node.config.role != DEVICE or bundle.manifest.backbone:
            raise ConfigError("--listen: only a device whose model takes plain samples can be asked for predictions")
        self.bundle, self._session = bundle, session

    def predict(self, x: Array) -> Array:
        """Predict with the parameters after the latest step. Raises ConfigError: no round has been finished."""
        if not self._session.learnt:
            raise ConfigError(f"{self._session.node.id} has not finished a round yet, so its model knows nothing")
        return self._session.predict(x)

    def row(self) -> Row:
        """Return the metrics of the round last finished; none before the first."""
        return self._session.latest


def _intakes(node: Installation, parts: Parts, store: "SampleStore | None") -> list["Intake"]:
    """What brings samples into the store, before its start. Raises ConfigError."""
    if not node.config.streams or store is None or parts.bundle is None:
        return []
    from edge.application.intake import Intake  # only now: few nodes need it

    return [Intake(setting, node.folder, parts.bundle, store) for setting in node.config.streams]


def require_savable(node: Installation, parts: Parts) -> None:
    """Refuse `save` where it cannot be. Raises ConfigError."""
    config = node.config
    if config.save is None:
        return
    if node.home is None:
        raise ConfigError(f"save '{config.save}': name a folder as `checkpoint`; the model is written there")
    if parts.bundle is None or config.role != DEVICE:
        raise ConfigError(f"save '{config.save}': the {config.role} trains no model that devices use; leave it out")
    if config.save == "best" and not len(parts.fleet.dataset.y_test):
        raise ConfigError("save 'best': there is no test part of the data to judge by; use 'last', or set `holdout`")
    saved_model.build(parts.bundle, parts.bundle.parameters())


def _best(rows: list[Metrics], parts: Parts) -> float | None:
    """The best score of the rounds before."""
    key = f"{parts.context.task.key}_all"
    return max((row[key] for row in rows if key in row), default=None)


def _administered(inner: Transport, node: Installation) -> Transport:
    """The transport, open to an operator."""
    config, folder = node.config, node.folder
    files = tuple(node.home / name for name in metrics_log.FILES) if node.home else ()
    authority = folder / config.tls.ca if config.tls else None
    installer = Installer(config.fleet, folder, node.bundle, authority, node.try_bundle, config.id)
    return AdministeredTransport(inner, config.id, files, installer)
