"""A node as its folder describes it: node.toml, and the bundles, data, certificates and checkpoints beside it."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from edge import algorithm, data, device, privacy, tokens
from edge import bundle as bundles
from edge.algorithm import Algorithm
from edge.bundle import Bundle
from edge.config import NodeConfig, checked, current, merged, read_toml
from edge.device import Device, FleetData
from edge.errors import ConfigError, DataError
from edge.interfaces import DEVICE, Array, Engine, NodeId, PrivacyClass, ProtocolContext, Transport
from edge.labels import Classes
from edge.messaging import run_identity
from edge.messaging.run_identity import RunIdentity
from edge.operations.remote import OPERATOR
from edge.protocols import PROTOCOLS
from edge.standardization import HOW, ill_scaled
from edge.storage.retention import parse
from edge.transports import mqtt

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """What a node is made of before it is connected.

    Attributes:
        fleet: with this node's private samples alone, as its model takes them.
        context: what its protocol is told.
        bundle: what it trains; None for a centre without a model.
    """

    fleet: FleetData
    context: ProtocolContext
    bundle: Bundle | None


@dataclass(frozen=True)
class Installation:
    """A node's configuration file, its settings, and what it runs."""

    path: Path
    config: NodeConfig
    algorithm: Algorithm

    @classmethod
    def read(cls, path: Path, over: dict[str, Any]) -> Self:
        """Read a configuration file. over: values that replace the file's. Raises ConfigError."""
        values = merged(
            current(read_toml(path), NodeConfig.RENAMED, str(path)), current(over, NodeConfig.RENAMED, "flags")
        )
        return cls.of(values, path)

    @classmethod
    def of(cls, values: Mapping[str, Any], path: Path) -> Self:
        """Check settings. path: of the file they are from, or would be: its folder is where paths begin. Raises
        ConfigError."""
        config = checked(NodeConfig, values, str(path))
        protocol = algorithm.load(config.protocol, config.settings, f"{path}: settings")
        config.coding.by_kind()  # which kinds there are is known only now that the protocol is
        if config.store:
            _require_growing(config, protocol)
        elif config.streams:
            raise ConfigError(f"streams '{config.streams[0]}': say what is kept of them, as in store = 'ring:10000'")
        protocol.refuse_inapplicable(config.privacy, config.aggregation, config.coding)
        config = config.model_copy(update={"id": _name(config, protocol.centre)})
        return cls(path, config, protocol)

    @property
    def folder(self) -> Path:
        """The folder that the file's paths are relative to."""
        return self.path.resolve().parent

    @property
    def bundle(self) -> Path:
        """The folder of the devices' model."""
        return self.folder / self.config.bundle

    @property
    def home(self) -> Path | None:
        """The folder of the checkpoints, if any are kept."""
        return self.folder / self.config.checkpoint if self.config.checkpoint else None

    @property
    def credentials(self) -> mqtt.Credentials | None:
        """The files for a broker at mqtts://."""
        if (tls := self.config.tls) is None:
            return None
        return mqtt.Credentials(self.folder / tls.ca, self.folder / tls.certificate, self.folder / tls.key)

    @property
    def id(self) -> NodeId:
        """This node's name: a device's is given, the centre's is its role."""
        return self.config.id

    def trained(self, devices: Bundle) -> Bundle | None:
        """Return what this node trains. devices: the devices' bundle. Raises ConfigError, BundleError.

        A centre trains its own model, if the protocol gives it one: the devices', where it starts from the same.
        """
        config, algorithm = self.config, self.algorithm
        objective = algorithm.centre_objective
        if config.role == DEVICE:
            return devices
        if objective is None:
            return None
        if config.centre_bundle is None and not algorithm.split and objective == algorithm.objective:
            return devices
        if config.centre_bundle is None:
            raise ConfigError(
                f"centre_bundle: the {config.role} of {algorithm.name} trains a model of its own; export one with "
                f"--objective '{' + '.join(objective)}' and name its folder"
            )
        own = bundles.read(self.folder / config.centre_bundle)
        own.require(objective, f"the {config.role} of {algorithm.name}")
        theirs, ours = devices.manifest.class_names, own.manifest.class_names
        if (devices.manifest.classes, theirs) != (own.manifest.classes, ours):
            raise ConfigError(
                f"centre_bundle: {config.centre_bundle} has the classes {_named(own)}, the devices' bundle "
                f"{config.bundle} has {_named(devices)}; export both with the same --classes"
            )
        return own

    def parts(self, path: Path | None = None, samples: tuple[Array, Array] | None = None) -> Parts:
        """Read bundles and data.

        Args:
            path: of another bundle for the devices' model than the installed one.
            samples: x (n, ...) and y (n, ...) that have arrived so far, instead of the data of the settings.

        Raises:
            MurmurError: what does not fit, and with what.
        """
        config = self.config
        self._require_shared_reference()
        bundle = bundles.read(path or self.bundle)
        bundle.require(self.algorithm.objective, config.protocol)
        takes = bundle.manifest
        classes = Classes(takes.classes, takes.class_names or (), f"the bundle {path or config.bundle}", takes.job)
        origin = f"the bundle {path or config.bundle}"
        if takes.tokens and (config.store or samples is not None):
            raise ConfigError(f"store: it keeps samples as floats, and {origin} takes token numbers; train on a file")
        if config.store and samples is None:  # none so far
            samples = np.empty((0, *takes.sample), np.float32), np.empty(0, np.int64)
        if samples is None:
            fleet = device.read_fleet(self._placed(), config.peers, classes=classes, tokens=takes.tokens).only(self.id)
        else:
            fleet = device.observed_fleet(self._placed(), config.peers, samples, classes)
        tokens.require(takes, origin, fleet.share(self.id)[0], config.data)
        tokens.require(takes, origin, fleet.reference.x, f"reference {config.reference}")
        if takes.sample != (has := fleet.dataset.x_train.shape[1:]):
            raise DataError(
                f"{path or config.bundle} takes samples of {list(takes.sample)}; {config.data} has {list(has)}"
            )
        wrong = ill_scaled(fleet.share(self.id)[0])
        if wrong and takes.standardization is None and takes.backbone is None:
            _log.warning("note: %s has %s, and %s does not scale it: %s", config.data, wrong, config.bundle, HOW)
        fleet = fleet.featured(bundle, config.threads or 1)
        context = fleet.context(self.algorithm, self.id, bundle, config.seed)
        return Parts(fleet, context, self.trained(bundle))

    def engine(self, parts: Parts) -> Engine:
        """Make the node's engine. Raises MurmurError."""
        return device.engine(self.config, parts.bundle, parts.context, self.home)

    def try_bundle(self, path: Path) -> None:
        """Check that this node could train another bundle. Raises MurmurError: it cannot, and why."""
        parts = self.parts(path)
        device.engine(self.config, parts.bundle, parts.context)

    def device(
        self, parts: Parts, engine: Engine, transport: Transport, now: Callable[[], float] = time.monotonic
    ) -> Device:
        """Put the node together. Raises ConfigError."""
        key = privacy.secret(self.home) if self.config.privacy.noise else 0
        config = self.config
        identity = RunIdentity(run_identity.named(config.fleet, config.run) if config.run else 0)
        return device.build(
            config,
            self.algorithm.create,
            parts.context,
            engine,
            transport,
            now,
            aggregation=self.algorithm.aggregation(config.aggregation, parts.context.task),
            noise_key=key,
            identity=identity,
        )

    def _require_shared_reference(self) -> None:
        """Refuse a reference set of this device's own rows, which no neighbour would have.

        Raises ConfigError.
        """
        config = self.config
        own = data.path(config.data) is not None or config.data.startswith("python:")
        needed = any(kind.privacy is not PrivacyClass.WEIGHTS for kind in self.algorithm.sends)
        if config.store and config.reference.isdecimal() and needed:
            raise ConfigError(
                f"reference '{config.reference}': samples that arrive give no reference set that all devices share; "
                "name a file that all have, as in npz:reference.npz"
            )
        if config.role == DEVICE and own and config.split is None and config.reference.isdecimal() and needed:
            raise ConfigError(
                f"reference '{config.reference}' takes rows of {config.data}, which is this device's own: every device "
                "would have another reference set. Name a file that all devices have, as in reference = "
                '"npz:reference.npz"; if all have this data, divide it with split'
            )

    def _placed(self) -> NodeConfig:
        """The settings with paths that are relative to the file made absolute."""

        def placed(spec: str) -> str:
            if data.path(spec) is not None:
                kind, _, path = spec.partition(":")
                return f"{kind}:{self.folder / path}"
            return str(self.folder / spec) if (self.folder / spec).is_file() else spec

        specs: dict[str, Any] = {key: placed(getattr(self.config, key)) for key in ("topology", "data", "reference")}
        if self.config.role != DEVICE:
            specs["split"] = None  # a centre has no share, so its data need not be enough for one each
        return self.config.model_copy(update=specs)


def _require_growing(config: NodeConfig, protocol: Algorithm) -> None:
    """Refuse a store of arriving samples where it cannot be. Raises ConfigError."""
    parse(config.store or "")
    if config.role != DEVICE:
        raise ConfigError(f"store '{config.store}': a {config.role} has no samples of its own; leave it out")
    if not protocol.spec.growing:
        able = [name for name, spec in PROTOCOLS.all().items() if spec.growing]
        raise ConfigError(
            f"store '{config.store}': {protocol.name} takes its samples at the start; samples may arrive with: "
            f"{', '.join(able)}"
        )


def _named(bundle: Bundle) -> str:
    manifest = bundle.manifest
    return ", ".join(manifest.class_names or (f"0 to {manifest.classes - 1}, without names",))


def _name(config: NodeConfig, centre: NodeId | None) -> NodeId:
    """Return the node's name. Raises ConfigError: it has no place in this fleet."""
    if OPERATOR in (config.id, *config.peers):
        raise ConfigError(f"'{OPERATOR}' is no device: it is who may ask devices for reports, and change their model")
    if config.role == DEVICE:
        if config.id not in config.peers:
            raise ConfigError(f"id '{config.id}' is not one of the peers: {', '.join(config.peers)}")
        return config.id
    if config.role != centre:
        has = f"a {centre}" if centre else "no centre"
        raise ConfigError(f"role '{config.role}': {config.protocol} has {has}; the other nodes are devices")
    return config.role
