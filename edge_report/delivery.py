"""Where a finding goes: the terminal, a JSON file, reports, pictures. The same flags for every measurement."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge.command import add_plugins, guarded, plugin_flag
from edge.config import write_text
from edge.errors import ConfigError
from edge_report import document, finding, formats
from edge_report.document import Section
from edge_report.finding import Finding
from edge_report.specs import FORMATS, CommandSpec


def main(program: str, spec: CommandSpec[Any], arguments: Sequence[str] | None = None) -> int:
    """Run a program that is one command.

    Args:
        program: its name, for the help and for errors.
        spec: what it measures.
        arguments: words of the command line; those of this process if absent.

    Returns:
        The exit code: 2, after one line, for what the user can put right.
    """
    parser = argparse.ArgumentParser(prog=program, description=spec.text)
    add_flags(parser, spec)
    return guarded(program.split()[0], lambda: perform(spec, parser.parse_args(arguments)))


def add_flags(parser: argparse.ArgumentParser, spec: CommandSpec[Any]) -> None:
    """Add the flags of a command, and those that all commands have: --json, --report, --plots, --plugin."""
    spec.arguments(parser)
    kinds = "|".join(f".{kind}" for kind in FORMATS.names())
    parser.add_argument("--json", metavar="OUT.json", help="write the result to this file; - for standard output")
    parser.add_argument(
        "--report",
        type=Path,
        action="append",
        default=[],
        metavar=f"OUT{kinds}",
        help="write a report in the format of the name's ending (repeatable)",
    )
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write the pictures to this folder, as SVG")
    plugin_flag(parser)


def perform(spec: CommandSpec[Any], args: argparse.Namespace) -> int:
    """Run a command, show its result, and write what was asked for.

    Args:
        spec: the command.
        args: parsed flags, its own and those of `add_flags`.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: of the command; or a file that cannot be written, before anything is measured.
    """
    add_plugins(args)
    console = checked(args)
    with _progress(console) as progress:
        result = spec.run(args, progress)
    deliver(console, result, spec.sections(result), args)
    return 0


def checked(args: argparse.Namespace) -> Console:
    """Check, before anything is measured, that every file asked for can be written.

    Returns:
        The console for people: standard error if the JSON goes to standard output.

    Raises:
        ConfigError: a folder that is not there, or an ending that no format has.
    """
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


def deliver(console: Console, result: Finding, sections: Sequence[Section], args: argparse.Namespace) -> None:
    """Show a result in the terminal, and write it to the files that the flags name."""
    document.show(console, sections)
    if args.plots:
        for section in sections:
            if section.picture:
                write_text(args.plots / f"{section.name}.svg", section.picture())
    for path in args.report:
        write_text(path, formats.load(path).render(sections, result))
        console.print(f"{path}: {path.stat().st_size / 1000:.0f} kB", highlight=False, soft_wrap=True)
    text = result.model_dump_json(indent=1) + "\n"
    if args.json == "-":
        sys.stdout.write(text)
    elif args.json:
        write_text(Path(args.json), text)


@contextmanager
def _progress(console: Console) -> Iterator[finding.Progress]:
    """A bar in a terminal; nothing elsewhere."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting")

        def show(done: int, total: int, description: str) -> None:
            bar.update(task, completed=done, total=total, description=description)

        yield show
