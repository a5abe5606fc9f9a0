"""Where a finding goes: the terminal, a JSON file, reports, pictures. The same flags for every measurement."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge import plugins
from edge.config import write_text
from edge.errors import ConfigError
from edge_report import document, formats
from edge_report.document import Section
from edge_report.finding import Finding


def flags(parser: argparse.ArgumentParser) -> None:
    """--json, --report, --plots."""
    kinds = "|".join(f".{kind}" for kind in plugins.names(formats.PACKAGE))
    parser.add_argument("--json", metavar="OUT.json", help="write the result there; - for standard output")
    parser.add_argument(
        "--report",
        type=Path,
        action="append",
        default=[],
        metavar=f"OUT{kinds}",
        help="for people to look at, of the kind that its ending says (repeatable)",
    )
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="its pictures there, as SVG")


def checked(args: argparse.Namespace) -> Console:
    """Before anything is measured: that what is to be written can be. Returns where people look. Raises ConfigError."""
    for flag, path in [("--json", args.json), *(("--report", path) for path in args.report)]:
        if path and path != "-" and not Path(path).parent.is_dir():
            raise ConfigError(f"{flag} {path}: there is no folder {Path(path).parent}")
    for path in args.report:
        formats.load(path)
    if args.plots:
        try:
            args.plots.mkdir(parents=True, exist_ok=True)
        except OSError as reason:
            raise ConfigError(f"--plots {args.plots}: {reason.strerror}") from None
    return Console(stderr=args.json == "-")


def deliver(console: Console, found: Finding, sections: Sequence[Section], args: argparse.Namespace) -> None:
    """Show it, and write what was asked for."""
    document.show(console, sections)
    if args.plots:
        for section in sections:
            if section.picture:
                write_text(args.plots / f"{section.name}.svg", section.picture())
    for path in args.report:
        write_text(path, formats.load(path).render(sections, found))
        console.print(f"{path}: {path.stat().st_size / 1000:.0f} kB", highlight=False, soft_wrap=True)
    text = found.model_dump_json(indent=1) + "\n"
    if args.json == "-":
        sys.stdout.write(text)
    elif args.json:
        write_text(Path(args.json), text)


def perform(command: Any, args: argparse.Namespace) -> int:
    """Run a command that measures, show what it found, and write what was asked for.

    command: a module with `run(args, progress) -> Finding` and `sections(finding)`, as in `edge_bench.commands`.
    """
    console = checked(args)
    with _progress(console) as progress:
        finding = command.run(args, progress)
    deliver(console, finding, command.sections(finding), args)
    return 0


@contextmanager
def _progress(console: Console) -> Iterator[Any]:
    """A bar in a terminal; nothing elsewhere."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting")
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
