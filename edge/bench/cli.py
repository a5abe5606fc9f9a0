"""`edge-bench`: measurements, each with its method and its check.

edge-bench reproduce [--data digits|npz:PATH] [--seeds 0,1,2] [SYSTEM ...]
edge-bench protocols [--data ...] [--split ...] [--devices N]
edge-bench wire [--classes 10,100] [--rows R]
edge-bench privacy [--noise gaussian:S,laplace:B] [--rows R] [--rounds T]
edge-bench compare A.json B.json [--all]
edge-bench engines [--batch N] [--environments FOLDER] [ENGINE ...]
"""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, RootModel
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge import plugins
from edge.bench import compare, plot, privacy, protocols, show, wire
from edge.bench.engines import CONTENDERS, measure
from edge.bench.reproduce import reproduce
from edge.command import guarded
from edge.config import write_text
from edge.errors import ConfigError
from edge.sim.scenario import read


def main() -> int:
    """Console script; exit code 2 and one line for what can be put right."""
    args = _parser().parse_args()
    return guarded("edge-bench", lambda: int(args.run(args)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-bench", description="Measure; every figure with its setting.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def command(name: str, run: Any, text: str, seeds: str) -> argparse.ArgumentParser:
        found = commands.add_parser(name, help=text, description=text)
        found.set_defaults(run=run)
        found.add_argument("--data", default="digits", metavar="digits|npz:PATH|idx:DIR")
        found.add_argument("--seeds", default=seeds, metavar="0,1,2")
        found.add_argument("--workers", type=int, default=cores, metavar="N", help="processes; one a core by default")
        found.add_argument("--plots", type=Path, metavar="FOLDER", help="accuracy against bytes, as SVG")
        found.add_argument("--json", metavar="OUT.json", help="write the result there; - for standard output")
        return found

    known = plugins.names("edge.bench.claims")
    one = command("reproduce", _reproduce, "Check the claims of the papers.", "0,1,2")
    one.add_argument("--rows", type=int, default=4000, metavar="N", help="at most so many of the data; 4000")
    one.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"one of: {', '.join(known)}; all by default")

    two = command("protocols", _protocols, "All protocols on one job, on equal terms.", "0")
    two.add_argument("--protocols", metavar="NAME,NAME", help="only these")
    two.add_argument("--devices", type=int, default=8, metavar="N")
    two.add_argument("--topology", default="ring")
    two.add_argument("--split", default="classes:4", metavar="iid|classes:K|dirichlet:A|...")
    two.add_argument("--model", default="zoo:mlp:64-32", metavar="zoo:NAME|FILE.onnx")
    two.add_argument("--split-at", metavar="VALUE", help="where fedgkt cuts the model; it is left out otherwise")
    two.add_argument("--reference", default="300", metavar="N|npz:PATH")
    two.add_argument("--rounds", type=int, default=100, metavar="R")
    two.add_argument("--local-steps", type=int, default=10, metavar="N")
    two.add_argument("--learning-rate", type=float, default=0.1, metavar="X")

    text = "Engines and PyTorch on one training job, each in a clean environment."
    three = commands.add_parser("engines", help=text, description=text)
    three.set_defaults(run=_engines, plots=None)
    three.add_argument("--batch", type=int, default=32, metavar="N", help="rows of a step; 32")
    three.add_argument("--rounds", type=int, default=5, metavar="N", help="processes of each, taking turns; 5")
    three.add_argument("--environments", type=Path, metavar="FOLDER", help="keep them there; else they are thrown away")
    three.add_argument("--json", metavar="OUT.json", help="write the result there; - for standard output")
    three.add_argument("engines", nargs="*", metavar="ENGINE", help=f"one of: {', '.join(CONTENDERS)}; all by default")

    text = "Codings of soft labels: bytes, divergence, speed, and what an entropy coder could hope for."
    four = commands.add_parser("wire", help=text, description=text)
    four.set_defaults(run=_wire, plots=None)
    four.add_argument("--classes", default="10", metavar="C,C", help="10 is digits, others are synthetic; 10")
    four.add_argument("--rows", type=int, default=1000, metavar="R", help="of a message; 1000")
    four.add_argument("--first", type=int, default=20, metavar="ROUND", help="the first that is measured; 20")
    four.add_argument("--rounds", type=int, default=20, metavar="N", help="how many are measured; 20")
    four.add_argument("--json", metavar="OUT.json", help="write the result there; - for standard output")

    text = "What noise on the published rows guarantees: epsilon, by the accountants of dp-accounting."
    five = commands.add_parser("privacy", help=text, description=text)
    five.set_defaults(run=_privacy, plots=None)
    five.add_argument("--noise", default="gaussian:1,gaussian:10,laplace:10", metavar="NAME:SCALE,...")
    five.add_argument("--rows", type=int, default=300, metavar="R", help="of the reference set, or of its subset; 300")
    five.add_argument("--rounds", type=int, default=100, metavar="T", help="in which they are published; 100")
    five.add_argument("--delta", type=float, default=1e-5, metavar="D", help="1e-5")
    five.add_argument("--json", metavar="OUT.json", help="write the result there; - for standard output")

    text = "Two results of the same command: what changed between them beyond noise."
    six = commands.add_parser("compare", help=text, description=text)
    six.set_defaults(run=_compare, plots=None)
    six.add_argument("first", type=Path, metavar="A.json")
    six.add_argument("second", type=Path, metavar="B.json")
    six.add_argument("--all", action="store_true", help="what is the same, too")
    six.add_argument("--json", metavar="OUT.json", help="write the result there; - for standard output")
    return parser


def _reproduce(args: argparse.Namespace) -> int:
    console = _console(args)
    with _progress(console) as progress:
        found = reproduce(
            args.data, _seeds(args), names=args.systems, rows=args.rows, workers=_workers(args), progress=progress
        )
    show.report(console, found)
    if args.plots:
        for system in dict.fromkeys(run.system for run in found.runs):
            points = [plot.of_run(run) for run in found.runs if run.system == system and run.plotted]
            plot.pareto(f"{system} on {_short(found.data)}", points, args.plots / f"{system}.svg")
    _write(args, found)
    return 0


def _protocols(args: argparse.Namespace) -> int:
    console = _console(args)
    base = {
        "data": args.data,
        "devices": args.devices,
        "topology": args.topology,
        "split": args.split,
        "model": args.model,
        "split_at": args.split_at,
        "reference": args.reference,
        "rounds": args.rounds,
        "evaluate_every": args.rounds,
    }
    read(None, base)
    local = {"local_steps": args.local_steps, "learning_rate": args.learning_rate}
    names = [name for name in args.protocols.split(",") if name] if args.protocols else []
    with _progress(console) as progress:
        found = protocols.compare(
            base, _seeds(args), names=names, local=local, workers=_workers(args), progress=progress
        )
    show.comparison(console, found)
    if args.plots:
        points = [
            plot.Point(x.protocol, x.payload_bytes, x.accuracy_all, min(x.by_seed), max(x.by_seed)) for x in found.lines
        ]
        plot.pareto(f"{_short(args.data)}, {args.split}, {args.devices} devices", points, args.plots / "protocols.svg")
    _write(args, found)
    return 0


def _wire(args: argparse.Namespace) -> int:
    if not all(part.isdigit() for part in args.classes.split(",")):
        raise ConfigError(f"--classes {args.classes}: expected numbers, as in 10,100")
    console = _console(args)
    found = []
    for classes in map(int, args.classes.split(",")):
        with _progress(console) as progress:
            one = wire.measure(classes, rows=args.rows, first=args.first, rounds=args.rounds, progress=progress)
        found.append(one)
        show.wire(console, one)
    _write(args, RootModel(found))
    return 0


def _privacy(args: argparse.Namespace) -> int:
    console = _console(args)
    noises = [noise for noise in args.noise.split(",") if noise]
    found = privacy.measure(noises, rows=args.rows, rounds=args.rounds, delta=args.delta)
    show.privacy(console, found)
    _write(args, found)
    return 0


def _compare(args: argparse.Namespace) -> int:
    console = _console(args)
    found = compare.compare(compare.read(args.first), compare.read(args.second))
    if not found.changes:
        raise ConfigError(f"{args.first} and {args.second} have no number in common; name two results of one command")
    show.compared(console, found, everything=args.all)
    _write(args, found)
    return 0


def _engines(args: argparse.Namespace) -> int:
    if min(args.batch, args.rounds) < 1:
        raise ConfigError(f"--batch {args.batch} --rounds {args.rounds}: expected 1 or more")
    console = _console(args)
    with contextlib.ExitStack() as stack:
        folder = args.environments or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        progress = stack.enter_context(_progress(console))
        found = measure(folder.resolve(), names=args.engines, batch=args.batch, rounds=args.rounds, progress=progress)
    show.engines(console, found)
    _write(args, found)
    return 0


def _console(args: argparse.Namespace) -> Console:
    """Where people look; checks beforehand that what is to be written can be."""
    if args.json and args.json != "-" and not Path(args.json).parent.is_dir():
        raise ConfigError(f"--json {args.json}: there is no folder {Path(args.json).parent}")
    if args.plots:
        try:
            args.plots.mkdir(parents=True, exist_ok=True)
        except OSError as reason:
            raise ConfigError(f"--plots {args.plots}: {reason.strerror}") from None
    return Console(stderr=args.json == "-")


@contextmanager
def _progress(console: Console) -> Iterator[Any]:
    """A bar in a terminal; nothing elsewhere."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting")
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)


def _seeds(args: argparse.Namespace) -> list[int]:
    try:
        seeds = [int(part) for part in args.seeds.split(",")]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds {args.seeds}: expected different numbers from 0, e.g. 0,1,2")
    return seeds


def _workers(args: argparse.Namespace) -> int:
    if args.workers < 1:
        raise ConfigError(f"--workers {args.workers}: expected 1 or more")
    return int(args.workers)


def _short(source: str) -> str:
    """Without folders."""
    kind, _, rest = source.partition(":")
    return Path(rest).stem if rest and kind in ("npz", "idx") else source


def _write(args: argparse.Namespace, found: BaseModel) -> None:
    if not args.json:
        return
    text = found.model_dump_json(indent=1) + "\n"
    if args.json == "-":
        sys.stdout.write(text)
    else:
        write_text(Path(args.json), text)


if __name__ == "__main__":
    sys.exit(main())
