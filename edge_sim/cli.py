"""`edge-sim`: emulate a fleet on this machine."""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from edge.command import add_plugins, guarded, plugin_flag
from edge.config import write_text
from edge.errors import ConfigError
from edge.flags import Parser
from edge_report import delivery
from edge_sim import scenario_files as scenarios
from edge_sim import sweep, watching
from edge_sim.display import Display, report
from edge_sim.result import Result
from edge_sim.run import both, run
from edge_sim.scenario import Scenario


def main() -> int:
    """Console script; exit code 2 and one line for what can be put right."""
    if sys.argv[1:2] == ["sweep"]:
        return delivery.main("edge-sim sweep", sweep.SPEC, sys.argv[2:])
    return guarded("edge-sim", _emulate)


def _parser() -> Parser:
    parser = Parser(
        prog="edge-sim",
        usage="edge-sim [SCENARIO.toml] [flags], or edge-sim sweep FILE.toml ...",
        description="Emulate devices that learn from each other. Flags go over the scenario file.",
    )
    parser.add_argument("scenario", nargs="?", type=Path, help="a TOML file with the same names as the flags")
    parser.add_argument("--watch", action="store_true", help="on a page in the browser, or in text where there is none")
    parser.add_argument("--json", metavar="OUT.json", help="write the result there; - for standard output")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the trained models of the devices there")
    plugin_flag(parser)
    parser.add_settings(Scenario)
    return parser


INTERRUPTED = 130


def _scenario(parser: Parser, args: argparse.Namespace) -> Scenario:
    """What the file and the flags say together. Raises ConfigError."""
    flags = parser.given(args)
    if settings := flags.pop("settings", None):
        protocol = flags.get("protocol") or scenarios.read(args.scenario, flags).protocol
        flags["settings"] = {protocol: settings}
    return scenarios.read(args.scenario, flags)


def _emulate() -> int:
    parser = _parser()
    args = parser.parse_args()
    add_plugins(args)
    scenario = _scenario(parser, args)
    if args.json and args.json != "-" and not Path(args.json).parent.is_dir():
        raise ConfigError(f"--json {args.json}: there is no folder {Path(args.json).parent}")

    console = Console(stderr=args.json == "-")
    if args.watch:
        with watching.page(console) as (page, url):
            with Display(console) if watching.browser() else watching.in_text(console, page) as shown:
                result = run(scenario, both(page, shown), args.save)
            page.end(result)
            report(console, result)
            _write(result, args.json)
            if not result.interrupted:
                watching.stay(console, url)
    else:
        with Display(console) as shown:
            result = run(scenario, shown, args.save)
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


if __name__ == "__main__":
    sys.exit(main())
