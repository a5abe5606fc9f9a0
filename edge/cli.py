"""`edge-node`: one device, one process; from a configuration file to the loop."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path

from edge import algorithm, checkpoint, data, plugins, privacy, robust, split
from edge import bundle as bundles
from edge.algorithm import Algorithm
from edge.bundle import Bundle
from edge.command import guarded
from edge.config import NodeConfig, checked, read_toml
from edge.engines._none import NoModel
from edge.errors import ConfigError, DataError
from edge.graph import mixing, topology
from edge.interfaces import DEVICE, Array, Engine, ProtocolContext, Transport, Trial
from edge.messaging.inbox import Inbox
from edge.messaging.mailbox import Mailbox, Waiting
from edge.node import Row, round_timeout, rounds, run, telemetry
from edge.operations import health, home_assistant, rollout, systemd
from edge.operations.remote import OPERATOR, AdministeredTransport
from edge.operations.rollout import Installer, NewBundleError
from edge.storage import metrics_log
from edge.transports import mqtt

_log = logging.getLogger(__name__)


def main() -> int:
    """Console script; exit code 2 and one line for what can be put right."""
    parser = argparse.ArgumentParser(
        prog="edge-node",
        usage="edge-node [tune] --config node.toml [options]",
        description="Run one device until its last round; or find out how its engine runs best here, and keep that.",
    )
    parser.add_argument("what", nargs="?", choices=("run", "tune"), default="run", help="run unless told")
    parser.add_argument("--config", type=Path, required=True, metavar="node.toml")
    parser.add_argument("--role", metavar="device|server|coordinator", help="over the file's: which node this is")
    parser.add_argument("--json", action="store_true", help="one JSON object a round, or for all of tuning")
    args = parser.parse_args()
    action = _tune if args.what == "tune" else _serve
    return guarded("edge-node", lambda: action(args.config, args.role, args.json))


def _configured(path: Path, role: str | None) -> tuple[NodeConfig, Algorithm, Path]:
    """The file's settings, `role` over the file's, what it runs, and the folder its paths are relative to."""
    values = read_toml(path)
    config = checked(NodeConfig, values if role is None else {**values, "role": role}, str(path))
    found = algorithm.load(config.protocol, config.settings, f"{path}: settings")
    found.refuse_inapplicable(config.privacy, config.robust, config.coding)
    return config, found, path.resolve().parent


def _tune(path: Path, role: str | None, as_json: bool) -> int:
    """Try the engine's options on this machine; the best are kept beside the checkpoint."""
    config, found, here = _configured(path, role)
    module = plugins.load("edge.engines", config.engine)
    if config.checkpoint is None:
        raise ConfigError(f"{path}: checkpoint: name a folder; what tuning finds is kept there")
    if not hasattr(module, "tune"):
        raise ConfigError(f"{path}: engine: {config.engine} has nothing to tune; onnx-runtime has")
    devices = bundles.read(here / config.bundle)
    own = devices if config.role == DEVICE else _centre_bundle(config, found, here, devices)
    if own is None:
        raise ConfigError(f"{path}: the {config.role} of {found.name} has no model, so nothing to tune")

    def said(trial: Trial) -> None:
        cost = f"{trial.step_seconds * 1e3:8.2f} ms a step  {trial.peak_bytes / 1e6:6.1f} MB at the peak"
        print(f"{_options(trial)}{cost}", flush=True)

    rows = found.rows(own.manifest.objective)
    trials = module.tune(own, here / config.checkpoint, rows, (lambda _: None) if as_json else said)
    if as_json:
        print(json.dumps({"chosen": asdict(trials[0]), "trials": [asdict(t) for t in trials]}))
    else:
        print(f"kept in {config.checkpoint}/: {_options(trials[0])}")
    return 0


def _options(trial: Trial) -> str:
    return "".join(f"{name} {str(value).lower():<7}" for name, value in trial.options.items())


def _serve(path: Path, role: str | None, as_json: bool) -> int:
    config, found, here = _configured(path, role)
    config = config.model_copy(update={"id": _id(config, found)})
    home = here / config.checkpoint if config.checkpoint else None
    while True:
        rollout.finish(here / config.bundle, home)
        try:
            return _work(config, found, here, home, as_json)
        except NewBundleError as name:
            _log.warning("the operator has installed %s: beginning anew with it", name)


def _work(config: NodeConfig, found: Algorithm, here: Path, home: Path | None, as_json: bool) -> int:
    """From where the checkpoint says to the last round. Raises NewBundleError: to be begun again."""
    setup, own, test = _setup(config, found, here)
    engine = _engine(config, setup, own, home)
    publish = config.privacy.publisher(setup.role, privacy.secret(home) if config.privacy.noise else 0)
    aggregate = robust.load(config.robust)
    protocol = found.create(replace(setup, perturb=privacy.perturbation(publish), aggregate=aggregate))
    coding = config.coding.by_kind()
    broker = mqtt.create(url=config.broker, fleet=config.fleet, me=config.id, identity=_identity(config, here))
    if config.home_assistant:
        broker.retain(home_assistant.discovery(config.fleet, config.id))
    transport = _administered(broker, config, found, here, home)
    inbox = Inbox(protocol.accepts())
    mailbox = Mailbox(transport, inbox, coding, time.monotonic)
    try:
        first = 1 + (checkpoint.resume(home, engine, protocol, mailbox) if home else 0)
        steps: Iterator[Waiting | Row] = rounds(
            protocol,
            engine,
            mailbox,
            first=first,
            last=config.rounds,
            round_timeout=round_timeout(setup, config.round_timeout),
            robust=aggregate,
            publish=publish,
        )
        unkept = 0
        steps = chain(steps, mailbox.linger(config.rounds, config.round_timeout))
        if home:
            metrics_log.log_to(home)
        systemd.notify("READY=1")
        for row in run(steps, transport, time.monotonic, alive=lambda: systemd.notify("WATCHDOG=1")):
            if home:
                try:
                    checkpoint.write(home, int(row["round"]), engine, protocol, mailbox)
                except ConfigError as reason:
                    if row["round"] == 1:
                        raise  # nothing is lost yet, and somebody is there to put it right
                    unkept += 1  # a full card is no reason to stop learning
                    if unkept == 1:
                        _log.warning("%s; the checkpoint before it stays, and every round tries again", reason)
            if setup.role == DEVICE and (row["round"] % config.evaluate_every == 0 or row["round"] >= config.rounds):
                answers = protocol.heads(engine, test[0], None)[-1]
                row["accuracy_all"] = float((answers.argmax(axis=1) == test[1]).mean())
            row |= telemetry(transport.traffic, inbox.counts)
            if unkept:
                row["checkpoints_failed"] = float(unkept)
            row |= health.read(here)
            transport.report(row)
            if home:
                metrics_log.append(home, row)
            systemd.notify(f"STATUS=round {row['round']:.0f} of {config.rounds}")
            print(json.dumps({"id": config.id, **row}) if as_json else _line(config.id, row), flush=True)
    finally:
        transport.close()
    return 0


def _engine(config: NodeConfig, setup: ProtocolContext, own: Bundle | None, home: Path | None) -> Engine:
    """What trains the bundle of this node; one without a model has nothing to train."""
    if own is None:
        return NoModel()
    create = plugins.load("edge.engines", config.engine).create
    made: Engine = create(own, threads=config.threads, seed=setup.seed, home=home)
    return made


def _administered(inner: Transport, config: NodeConfig, found: Algorithm, here: Path, home: Path | None) -> Transport:
    """The transport, open to an operator."""

    def trial(bundle: Path) -> None:
        setup, own, _ = _setup(config.model_copy(update={"bundle": bundle}), found, here)
        _engine(config, setup, own, None)

    files = tuple(home / name for name in metrics_log.FILES) if home else ()
    authority = here / config.tls.ca if config.tls else None
    installer = Installer(config.fleet, here, here / config.bundle, authority, trial)
    return AdministeredTransport(inner, config.id, files, installer)


def _id(config: NodeConfig, found: Algorithm) -> str:
    """This node's name: a device's is given, the centre's is its role."""
    if OPERATOR in (config.id, *config.peers):
        raise ConfigError(f"'{OPERATOR}' is no device: it is who may ask devices for reports, and change their model")
    if config.role == DEVICE:
        if config.id not in config.peers:
            raise ConfigError(f"id '{config.id}' is not one of the peers: {', '.join(config.peers)}")
        return config.id
    if config.role != found.centre:
        has = f"a {found.centre}" if found.centre else "no centre"
        raise ConfigError(f"role '{config.role}': {found.name} has {has}; the other nodes are devices")
    return config.role


def _setup(
    config: NodeConfig, found: Algorithm, here: Path
) -> tuple[ProtocolContext, Bundle | None, tuple[Array, Array]]:
    """What the protocol is told about this node, what the node trains, and the test set."""
    bundle = bundles.read(here / config.bundle)
    bundle.require(found.objective, config.protocol)
    graph = topology.build(_placed(config.topology, here), config.peers, config.seed)
    whole = data.load(_placed(config.data, here), config.seed)
    reference, private = data.take_reference(_placed(config.reference, here), whole, config.seed)
    x, y = private.x_train, private.y_train
    if config.role != DEVICE:
        x, y = x[:0], y[:0]
    elif config.split is not None:
        shares = split.divide(config.split, y, private.columns, len(config.peers), config.seed)
        share = shares[config.peers.index(config.id)]
        x, y = x[share], y[share]
    if (bundle.manifest.sample, bundle.manifest.classes) != (x.shape[1:], private.classes):
        raise DataError(
            f"{config.bundle} takes samples of {list(bundle.manifest.sample)} and {bundle.manifest.classes} classes; "
            f"{config.data} has {list(x.shape[1:])} and {private.classes}"
        )
    x_test = private.x_test
    if bundle.manifest.backbone:
        from edge.backbone import featured  # only now: a device without a backbone may have no TFLite

        reference, (x, x_test) = featured(bundle, reference, (x, x_test), config.threads or 1)
    setup = found.context(
        config.id,
        config.peers,
        mixing.metropolis(graph),
        (x, y),
        reference,
        bundle,
        classes=private.classes,
        seed=config.seed,
    )
    own = bundle if config.role == DEVICE else _centre_bundle(config, found, here, bundle)
    return setup, own, (x_test, private.y_test)


def _centre_bundle(config: NodeConfig, found: Algorithm, here: Path, devices: Bundle) -> Bundle | None:
    """The centre's own model, if the protocol gives it one: the devices', where it starts from the same."""
    if found.centre_objective is None:
        return None
    if config.centre_bundle is None and not found.split and found.centre_objective == found.objective:
        return devices
    if config.centre_bundle is None:
        raise ConfigError(
            f"centre_bundle: the {config.role} of {found.name} trains a model of its own; export one with "
            f"--objective '{' + '.join(found.centre_objective)}' and name its folder"
        )
    own = bundles.read(here / config.centre_bundle)
    own.require(found.centre_objective, f"the {config.role} of {found.name}")
    return own


def _placed(spec: str, here: Path) -> str:
    """A spec whose path, if it names one, is relative to the configuration file."""
    kind, colon, path = spec.partition(":")
    if colon and kind in ("npz", "idx"):
        return f"{kind}:{here / path}"
    return str(here / spec) if (here / spec).is_file() else spec


def _identity(config: NodeConfig, here: Path) -> mqtt.Identity | None:
    if config.tls is None:
        return None
    return mqtt.Identity(here / config.tls.ca, here / config.tls.certificate, here / config.tls.key)


def _line(me: str, row: Row) -> str:
    accuracy = f"  accuracy {row['accuracy_all']:.3f}" if "accuracy_all" in row else ""
    loss = f"  loss {row['loss']:.3f}" if "loss" in row else ""
    return (
        f"{me}  round {row['round']:.0f}{loss}{accuracy}  timeouts {row['timeouts']:.0f}  "
        f"sent {row['payload_bytes_sent'] / 1000:.1f} kB"
    )


if __name__ == "__main__":
    sys.exit(main())
