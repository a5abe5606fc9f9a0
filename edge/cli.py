"""`edge-node`: one device, one process; from a configuration file to the loop."""

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge import bundle as bundles
from edge import outcome
from edge.application import answering, samples, service
from edge.application import session as sessions
from edge.application.answering import CheckpointModel
from edge.command import add_plugins, guarded, listen_address, plugin_flag
from edge.config import NodeConfig
from edge.engines import ENGINES
from edge.errors import ConfigError, MurmurError
from edge.flags import Parser
from edge.installation import Installation
from edge.interfaces import Trial
from edge.node import ALIVE_INTERVAL, Row
from edge.operations import rollout, systemd
from edge.operations.rollout import NewBundleError
from edge.storage import checkpoint_files
from edge.task import METRICS

SKIPPED = 3
"""exit code of a device that went to the last round over others, because its neighbours were there"""
LISTEN = "127.0.0.1:8080"
"""where serve answers unless --listen says otherwise"""
_log = logging.getLogger(__name__)


def main() -> int:
    """Console script; exit code 2 and one line for what can be put right."""
    return guarded("edge-node", _perform)


def _perform() -> int:
    args, flags = _arguments()
    add_plugins(args)
    node = Installation.read(args.config, flags)
    if (args.what == "predict") != (args.input is not None):
        raise ConfigError("--input SOURCE goes with predict: edge-node predict --config node.toml --input npz:x.npz")
    if args.listen is not None and args.what not in ("run", "serve"):
        raise ConfigError(f"--listen {args.listen}: {args.what} answers nobody; it goes with run and serve")
    if args.what == "predict":
        return _predict(node, args.input, args.json)
    if args.what == "serve":
        return _serve(node, *listen_address(args.listen or LISTEN), args.json)
    if args.what == "tune":
        return _tune(node, args.json)
    return _run(node, args.json, args.fresh, listen_address(args.listen) if args.listen else None)


def _arguments() -> tuple[argparse.Namespace, dict[str, Any]]:
    """The command line, and the settings on it; the parser is not kept while the node runs."""
    parser = Parser(
        prog="edge-node",
        usage="edge-node [tune|predict|serve] --config node.toml [flags]",
        description="Run one device until its last round; or find out how its engine runs best here, and keep that; or "
        "predict with what it has learnt, once or for whoever asks over HTTP. Flags go over the file.",
    )
    parser.add_argument(
        "what", nargs="?", choices=("run", "tune", "predict", "serve"), default="run", help="default: run"
    )
    parser.add_argument("--config", type=Path, required=True, metavar="node.toml", help="the node's settings")
    parser.add_argument("--json", action="store_true", help="one JSON object a round, or for all of tuning")
    parser.add_argument("--input", metavar="SOURCE", help="samples to predict, as in npz:PATH")
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        help=f"of serve, default {LISTEN}; with run, the node answers there itself while it learns",
    )
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


def _predict(node: Installation, source: str, as_json: bool) -> int:
    """Print what the newest checkpoint says of samples."""
    for answer in answering.predictions(node, source):
        if as_json:
            print(json.dumps(answer))
        else:
            outputs = " ".join(f"{value:.3f}" for value in answer["outputs"])
            print(
                f"{answer['row']}  {answer['class']}  {outputs}" if "class" in answer else f"{answer['row']}  {outputs}"
            )
    return 0


def _tunable() -> Iterator[str]:
    """The engines that have options to tune, of those that are installed."""
    for name in ENGINES.names():
        with suppress(MurmurError, ImportError):
            if ENGINES.load(name).tune:
                yield name


def _options(trial: Trial) -> str:
    return "".join(f"{name} {str(value).lower():<7}" for name, value in trial.options.items())


def _serve(node: Installation, host: str, port: int, as_json: bool) -> int:
    """Answer over HTTP with the newest checkpoint, until somebody ends it."""
    model, stop = CheckpointModel(node), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    store = samples.store(node) if node.config.store else None
    with service.served(node, model, store, host, port) as url:
        _announce(node, url, as_json)
        systemd.notify("READY=1")
        while not stop.wait(ALIVE_INTERVAL):
            systemd.notify("WATCHDOG=1")
    return 0


def _announce(node: Installation, url: str, as_json: bool) -> None:
    print(json.dumps({"id": node.id, "url": url}) if as_json else f"{node.id} at {url}", flush=True)


def _run(node: Installation, as_json: bool, fresh: bool, listen: tuple[str, int] | None) -> int:
    if fresh and node.home:
        checkpoint_files.set_aside(node.home)
    while True:
        rollout.finish(node.bundle, node.home)
        try:
            return _work(node, as_json, fresh, listen)
        except NewBundleError:
            fresh = False


def _work(node: Installation, as_json: bool, fresh: bool, listen: tuple[str, int] | None) -> int:
    """Play from where the checkpoint says to the last round. Raises NewBundleError: to be begun again.

    Returns the exit code: SKIPPED if the last rounds but one were not played.
    """
    config = node.config
    store = samples.store(node) if config.store else None
    session = sessions.start(node, store, fresh=fresh)
    skipped, previous = False, session.first - 1
    with ExitStack() as stack:
        stack.callback(session.close)
        if listen is not None:
            url = stack.enter_context(service.served(node, sessions.LiveModel(session), store, *listen))
            _announce(node, url, as_json)
        for row in session.rows(alive=lambda: systemd.notify("WATCHDOG=1")):
            skipped, previous = int(row["round"]) > previous + 1, int(row["round"])
            print(json.dumps({"id": config.id, **row}) if as_json else _line(config.id, row), flush=True)
        if skipped:
            _log.error("the neighbours were in the last round already: %d rounds were skipped", row["skipped"])
        return SKIPPED if skipped else 0


def _line(me: str, row: Row) -> str:
    measured = [f"  {metric.title} {row[f'{key}_all']:.3f}" for key, metric in METRICS.items() if f"{key}_all" in row]
    loss = f"  loss {row['loss']:.3f}" if "loss" in row else ""
    idle = "  nothing new to learn from" if row.get("idle") else ""
    refused = f"  of another run {row['refused_run']:.0f}" if "refused_run" in row else ""
    words = ", ".join(outcome.sentences(row, row.get("accuracy_all"), outcome.supervised_loss(row)))
    end = f"  it has learnt nothing: {words}" if words else ""
    return (
        f"{me}  round {row['round']:.0f}{loss}{idle}{''.join(measured)}  timeouts {row['timeouts']:.0f}  "
        f"sent {row['payload_bytes_sent'] / 1000:.1f} kB{refused}{end}"
    )


if __name__ == "__main__":
    sys.exit(main())
