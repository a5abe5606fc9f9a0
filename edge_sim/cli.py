"""`edge-sim`: emulate a fleet on this machine."""

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from edge.command import add_plugins, guarded, plugin_flag
from edge.config import write_text
from edge.errors import ConfigError
from edge.specs import ENGINES
from edge_report import delivery
from edge_sim import boards, scenario_files, sweep, watching
from edge_sim.display import Display, report
from edge_sim.result import Result
from edge_sim.run import both, run
from edge_sim.scenario import Scenario


def main() -> int:
    """Console script; exit code 2 and one line for what can be put right."""
    if sys.argv[1:2] == ["sweep"]:
        return guarded("edge-sim", lambda: _sweep(_sweep_parser().parse_args(sys.argv[2:])))
    return guarded("edge-sim", lambda: _emulate(_parser().parse_args()))


def _sweep(args: argparse.Namespace) -> int:
    add_plugins(args)
    return delivery.perform(sweep, args)


def _sweep_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-sim sweep", description=sweep.TEXT)
    sweep.arguments(parser)
    plugin_flag(parser)
    delivery.flags(parser)
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-sim",
        description="Emulate devices that learn from each other. Flags go over the scenario file.",
    )
    parser.add_argument("scenario", nargs="?", type=Path, help="a TOML file with the same names as the flags")
    parser.add_argument("--devices", type=int, metavar="N")
    parser.add_argument("--topology", metavar="ring|complete|torus|star|random-regular:D|erdos-renyi:P|FILE")
    parser.add_argument("--protocol", metavar="NAME")
    parser.add_argument("--compare", metavar="NAME,NAME", help="also run these, for a table side by side")
    parser.add_argument("--data", metavar="digits|npz:PATH|idx:DIR")
    parser.add_argument("--rows", type=int, metavar="N", help="use at most so many rows of the data")
    parser.add_argument("--split", metavar="iid|classes:K|dirichlet:A|by:COLUMN")
    parser.add_argument("--reference", metavar="N|npz:PATH", help="the unlabelled reference set")
    parser.add_argument(
        "--model", action="append", metavar="zoo:NAME|BUNDLE|FILE.onnx", help="repeat it for a mixed fleet"
    )
    parser.add_argument("--split-at", metavar="VALUE", help="where fedgkt cuts the model in two")
    parser.add_argument("--edge-model", metavar="zoo:NAME|FILE.onnx", help="with --split-at: the devices' model")
    parser.add_argument("--optimizer", metavar="NAME")
    parser.add_argument("--engine", metavar="|".join([*ENGINES.names(), "ray"]), help="what runs the step")
    parser.add_argument("--workers", type=int, metavar="N", help="devices that compute at the same time; 1")
    parser.add_argument("--rounds", type=int, metavar="R")
    parser.add_argument("--seed", type=int, metavar="S")
    parser.add_argument("--transport", metavar="mqtt|memory")
    parser.add_argument("--broker", metavar="URL", help="mqtt://HOST:PORT of a broker that runs already")
    parser.add_argument(
        "--coding", metavar="NAME", help="of soft labels: simplex:8, cuberoot:5, ...; docs/wire.md has them"
    )
    parser.add_argument("--weight-coding", metavar="NAME", help="of weights: float32, float16")
    parser.add_argument(
        "--robust", metavar="RULE", help="which soft labels are believed: mean, median, trimmed-mean:X, similarity:X"
    )
    parser.add_argument("--noise", metavar="gaussian:S|laplace:B", help="on what devices say; edge-bench privacy")
    parser.add_argument("--temperature", type=float, metavar="T", help="of what devices say; 1")
    parser.add_argument("--liars", metavar="LIE:N", help="the first N devices lie: label-flip, random")
    parser.add_argument("--evaluate-every", type=int, metavar="ROUNDS")
    parser.add_argument(
        "--convergence", type=int, metavar="ROUNDS", help="measure gradient norm and consensus error that often"
    )
    parser.add_argument("--uplink", type=float, metavar="KBIT/S", help="from a device to the broker; in memory only")
    parser.add_argument("--downlink", type=float, metavar="KBIT/S", help="from the broker to a device")
    parser.add_argument("--latency", type=float, metavar="SECONDS", help="of every message; like all below, in memory")
    parser.add_argument("--jitter", type=float, metavar="SECONDS", help="at most so much on top")
    parser.add_argument("--packet-loss", type=float, metavar="FRACTION", help="of the messages never arrive")
    parser.add_argument("--loss", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--duplication", type=float, metavar="FRACTION", help="of the messages arrive twice")
    parser.add_argument("--board", metavar="|".join(boards.names()), help="how fast devices compute")
    parser.add_argument(
        "--replay", metavar="FOLDER", help="of firmware_scripts.field collect: compute as boards did there"
    )
    parser.add_argument("--round-timeout", type=float, metavar="SECONDS")
    parser.add_argument("--patience", type=float, help=argparse.SUPPRESS)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the protocol (repeatable)",
    )
    parser.add_argument("--fleet", metavar="NAME", help="in topics, for whoever listens at --broker; drawn if absent")
    parser.add_argument("--watch", action="store_true", help="on a page in the browser, or in text where there is none")
    plugin_flag(parser)
    parser.add_argument("--json", metavar="OUT.json", help="write the result there; - for standard output")
    return parser


INTERRUPTED = 130
NESTED = ("scenario", "json", "watch", "set", "compare", "coding", "weight_coding", "noise", "temperature", "plugin")
"""flags that are not a scenario's key of the same name"""


def _emulate(args: argparse.Namespace) -> int:
    add_plugins(args)
    flags = {key: value for key, value in vars(args).items() if value is not None and key not in NESTED}
    nested = {
        "coding": {"soft_labels": args.coding, "weights": args.weight_coding},
        "privacy": {"noise": args.noise, "temperature": args.temperature},
    }
    for table, values in nested.items():
        if given := {k: v for k, v in values.items() if v is not None}:
            flags[table] = given
    if args.model is not None and len(args.model) == 1:
        flags["model"] = args.model[0]
    if args.compare is not None:
        flags["compare"] = [name for name in args.compare.split(",") if name]
    if args.set:
        named = args.protocol or (args.scenario and scenario_files.read(args.scenario, flags).protocol)
        flags["settings"] = {named or Scenario().protocol: dict(map(_setting, args.set))}
    scenario = scenario_files.read(args.scenario, flags)
    if args.json and args.json != "-" and not Path(args.json).parent.is_dir():
        raise ConfigError(f"--json {args.json}: there is no folder {Path(args.json).parent}")

    console = Console(stderr=args.json == "-")
    if args.watch:
        with watching.page(console) as (page, url):
            with Display(console) if watching.browser() else watching.in_text(console, page) as shown:
                result = run(scenario, both(page, shown))
            page.end()
            report(console, result)
            _write(result, args.json)
            if not result.interrupted:
                watching.stay(console, url)
    else:
        with Display(console) as shown:
            result = run(scenario, shown)
        report(console, result)
        _write(result, args.json)
    return INTERRUPTED if result.interrupted else 0


def _write(result: Result, out: str | None) -> None:
    if not out:
        return
    text = json.dumps(result.model_dump(mode="json"), indent=1) + "\n"
    if out == "-":
        sys.stdout.write(text)
    else:
        write_text(Path(out), text)


def _setting(text: str) -> tuple[str, Any]:
    """KEY=VALUE, the value read as a number where it is one."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set {text}: expected KEY=VALUE, e.g. learning_rate=0.2")
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return key, kind(value)
    return key, value


if __name__ == "__main__":
    sys.exit(main())
