"""`edge-bench`: measurements, each with its method and its check.

A command is a file of `edge.bench.commands`; all of them write what they found as JSON (`edge.bench.record`), show it
in the terminal, and put it into a report (`edge.bench.reports`).
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge import plugins
from edge.bench import document, reports
from edge.command import guarded
from edge.config import write_text
from edge.errors import ConfigError

COMMANDS = "edge.bench.commands"


def main() -> int:
    """Console script; exit code 2 and one line for what can be put right."""
    args = _parser().parse_args()
    return guarded("edge-bench", lambda: _perform(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-bench", description="Measure; every figure with its setting.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name in plugins.names(COMMANDS):
        module = plugins.load(COMMANDS, name)
        command = commands.add_parser(name, help=module.TEXT, description=module.TEXT)
        module.arguments(command)
        command.add_argument("--json", metavar="OUT.json", help="write the result there; - for standard output")
        kinds = "|".join(f".{kind}" for kind in plugins.names(reports.PACKAGE))
        command.add_argument(
            "--report",
            type=Path,
            action="append",
            default=[],
            metavar=f"OUT{kinds}",
            help="for people to look at, of the kind that its ending says (repeatable)",
        )
        command.add_argument("--plots", type=Path, metavar="FOLDER", help="its pictures there, as SVG")
    return parser


def _perform(args: argparse.Namespace) -> int:
    _check(args)
    module: Any = plugins.load(COMMANDS, args.command)
    console = Console(stderr=args.json == "-")
    with _progress(console) as progress:
        found = module.run(args, progress)
    sections = module.sections(found)
    document.show(console, sections)
    if args.plots:
        for section in sections:
            if section.picture:
                write_text(args.plots / f"{section.name}.svg", section.picture())
    for path in args.report:
        write_text(path, reports.load(path).render(sections, found))
        console.print(f"{path}: {path.stat().st_size / 1000:.0f} kB", highlight=False, soft_wrap=True)
    if args.json == "-":
        sys.stdout.write(found.model_dump_json(indent=1) + "\n")
    elif args.json:
        write_text(Path(args.json), found.model_dump_json(indent=1) + "\n")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Before anything is measured: that what is to be written can be."""
    for flag, path in [("--json", args.json), *(("--report", path) for path in args.report)]:
        if path and path != "-" and not Path(path).parent.is_dir():
            raise ConfigError(f"{flag} {path}: there is no folder {Path(path).parent}")
    for path in args.report:
        reports.load(path)
    if args.plots:
        try:
            args.plots.mkdir(parents=True, exist_ok=True)
        except OSError as reason:
            raise ConfigError(f"--plots {args.plots}: {reason.strerror}") from None


@contextmanager
def _progress(console: Console) -> Iterator[Any]:
    """A bar in a terminal; nothing elsewhere."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting")
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)


if __name__ == "__main__":
    sys.exit(main())
