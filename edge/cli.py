"""`edge-node`: one device, one process; from a configuration file to the loop."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge import bundle as bundles
from edge import checkpoint, outcome
from edge.checkpoint import Owner
from edge.command import add_plugins, guarded, plugin_flag
from edge.config import NodeConfig
from edge.device import Device
from edge.engines import ENGINES
from edge.errors import ConfigError, MurmurError
from edge.flags import Parser
from edge.installation import Installation, Parts
from edge.interfaces import DEVICE, Transport, Trial
from edge.node import Row, run, telemetry
from edge.operations import health, home_assistant, rollout, systemd
from edge.operations.remote import AdministeredTransport
from edge.operations.rollout import Installer, NewBundleError
from edge.storage import checkpoint_files, metrics_log
from edge.task import METRICS
from edge.transports import mqtt

SKIPPED = 3
"""exit code of a device that went to the last round over others, because its neighbours were there"""
_log = logging.getLogger(__name__)


def main() -> int:
    """Console script; exit code 2 and one line for what can be put right."""
    return guarded("edge-node", _perform)


def _perform() -> int:
    args, flags = _arguments()
    add_plugins(args)
    node = Installation.read(args.config, flags)
    return _tune(node, args.json) if args.what == "tune" else _serve(node, args.json, args.fresh)


def _arguments() -> tuple[argparse.Namespace, dict[str, Any]]:
    """The command line, and the settings on it; the parser is not kept while the node runs."""
    parser = Parser(
        prog="edge-node",
        usage="edge-node [tune] --config node.toml [flags]",
        description="Run one device until its last round; or find out how its engine runs best here, and keep that. "
        "Flags go over the file.",
    )
    parser.add_argument("what", nargs="?", choices=("run", "tune"), default="run", help="default: run")
    parser.add_argument("--config", type=Path, required=True, metavar="node.toml", help="the node's settings")
    parser.add_argument("--json", action="store_true", help="one JSON object a round, or for all of tuning")
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="begin anew: set the checkpoints aside, and let the broker forget what it has kept for this device",
    )
    plugin_flag(parser)
    parser.add_settings(NodeConfig)
    args = parser.parse_args()
    return args, parser.given(args)


def _tune(node: Installation, as_json: bool) -> int:
    """Try the engine's options on this machine; the best are kept beside the checkpoint."""
    config, home, name = node.config, node.home, node.algorithm.name
    spec = ENGINES.load(config.engine)
    if home is None:
        raise ConfigError(f"{node.path}: checkpoint: name a folder; what tuning finds is kept there")
    if spec.tune is None:
        raise ConfigError(f"{node.path}: engine: {config.engine} has nothing to tune; {', '.join(_tunable())} has")
    bundle = node.trained(bundles.read(node.bundle))
    if bundle is None:
        raise ConfigError(f"{node.path}: the {config.role} of {name} has no model, so nothing to tune")

    def show(trial: Trial) -> None:
        cost = f"{trial.step_seconds * 1e3:8.2f} ms a step  {trial.peak_bytes / 1e6:6.1f} MB at the peak"
        print(f"{_options(trial)}{cost}", flush=True)

    rows = node.algorithm.rows(bundle.manifest.objective)
    trials = spec.tune(bundle, home, rows, (lambda _: None) if as_json else show)
    if as_json:
        print(json.dumps({"chosen": asdict(trials[0]), "trials": [asdict(t) for t in trials]}))
    else:
        print(f"kept in {config.checkpoint}/: {_options(trials[0])}")
    return 0


def _tunable() -> Iterator[str]:
    """The engines that have options to tune, of those that are installed."""
    for name in ENGINES.names():
        with suppress(MurmurError, ImportError):
            if ENGINES.load(name).tune:
                yield name


def _options(trial: Trial) -> str:
    return "".join(f"{name} {str(value).lower():<7}" for name, value in trial.options.items())


def _serve(node: Installation, as_json: bool, fresh: bool) -> int:
    if fresh and node.home:
        checkpoint_files.set_aside(node.home)
    while True:
        rollout.finish(node.bundle, node.home)
        try:
            return _work(node, as_json, fresh)
        except NewBundleError as name:
            _log.warning("the operator has installed %s: beginning anew with it", name)
            fresh = False


def _work(node: Installation, as_json: bool, fresh: bool) -> int:
    """Play from where the checkpoint says to the last round. Raises NewBundleError: to be begun again.

    Returns the exit code: SKIPPED if the last rounds but one were not played.
    """
    config, home = node.config, node.home
    parts = node.parts()
    engine = node.engine(parts)
    broker = mqtt.create(url=config.broker, fleet=config.fleet, me=config.id, credentials=node.credentials, fresh=fresh)
    if config.home_assistant:
        broker.retain(home_assistant.discovery(config.fleet, config.id, parts.context.task))
    transport = _administered(broker, node)
    try:
        device = node.device(parts, engine, transport)
        owner = checkpoint.Owner(config.id, config.fleet, device.context.model_digest.hex())
        first = 1 + (checkpoint.resume(home, engine, device.protocol, device.mailbox, owner) if home else 0)
        broker.watch(name for name, _ in device.inbox.neighbours())
        steps = device.rounds(first, linger=config.round_timeout)
        if home:
            metrics_log.log_to(home)
        systemd.notify("READY=1")
        failures, skipped, previous = 0, False, first - 1
        losses: list[float] = []
        for row in run(steps, transport, time.monotonic, alive=lambda: systemd.notify("WATCHDOG=1")):
            skipped, previous = int(row["round"]) > previous + 1, int(row["round"])
            if home and not _kept(device, home, owner, previous, failures):
                failures += 1
            losses += [loss] if (loss := outcome.supervised_loss(row)) is not None else []
            _complete(row, device, parts, node.folder, losses if first == 1 else ())
            if failures:
                row["checkpoints_failed"] = float(failures)
            transport.report(row)
            if home:
                metrics_log.append(home, row)
            systemd.notify(f"STATUS=round {row['round']:.0f} of {config.rounds}")
            print(json.dumps({"id": config.id, **row}) if as_json else _line(config.id, row), flush=True)
        if skipped:
            _log.error("the neighbours were in the last round already: %d rounds were skipped", row["skipped"])
        return SKIPPED if skipped else 0
    finally:
        transport.close()


def _administered(inner: Transport, node: Installation) -> Transport:
    """The transport, open to an operator."""
    config, folder = node.config, node.folder
    files = tuple(node.home / name for name in metrics_log.FILES) if node.home else ()
    authority = folder / config.tls.ca if config.tls else None
    installer = Installer(config.fleet, folder, node.bundle, authority, node.try_bundle, config.id)
    return AdministeredTransport(inner, config.id, files, installer)


def _kept(device: Device, home: Path, owner: Owner, number: int, failures: int) -> bool:
    """Whether the state after a round could be written. Raises ConfigError: not even after the first."""
    try:
        checkpoint.write(home, number, device.engine, device.protocol, device.mailbox, owner)
    except ConfigError as reason:
        if number == 1:
            raise  # nothing is lost yet, and somebody is there to put it right
        if not failures:  # a full card is no reason to stop learning
            _log.warning("%s; the checkpoint before it stays, and every round tries again", reason)
        return False
    return True


def _complete(row: Row, device: Device, parts: Parts, folder: Path, losses: Sequence[float]) -> None:
    """Add to a round's row what is not of the round: accuracy, traffic, and how the board is.

    losses: since round 1, if this process has played all rounds; to the last row they add whether they have fallen.
    """
    config, test = device.config, parts.fleet.dataset
    due = row["round"] % config.evaluate_every == 0 or row["round"] >= config.rounds
    if device.context.role == DEVICE and due and len(test.y_test):
        row |= {f"{key}_all": value for key, value in device.scores(test.x_test, test.y_test).items()}
    if device.context.role == DEVICE and row["round"] >= config.rounds:
        row |= outcome.judge(row.get("accuracy_all"), test.y_test, test.classes, losses)
    row |= telemetry(device.transport.traffic, device.inbox.refusals)
    row |= health.read(folder)
    row["run"] = float(device.mailbox.identity.run)


def _line(me: str, row: Row) -> str:
    measured = [f"  {metric.title} {row[f'{key}_all']:.3f}" for key, metric in METRICS.items() if f"{key}_all" in row]
    loss = f"  loss {row['loss']:.3f}" if "loss" in row else ""
    refused = f"  of another run {row['refused_run']:.0f}" if "refused_run" in row else ""
    words = ", ".join(outcome.sentences(row, row.get("accuracy_all"), outcome.supervised_loss(row)))
    end = f"  it has learnt nothing: {words}" if words else ""
    return (
        f"{me}  round {row['round']:.0f}{loss}{''.join(measured)}  timeouts {row['timeouts']:.0f}  "
        f"sent {row['payload_bytes_sent'] / 1000:.1f} kB{refused}{end}"
    )


if __name__ == "__main__":
    sys.exit(main())
