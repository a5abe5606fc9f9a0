"""`edge-bench`: measurements, each with its method and its check.

A command is a file of `edge.bench.commands`; all of them write what they found as JSON (`edge.bench.record`), show it
in the terminal, and put it into a report (`edge.bench.reports`).
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edge import plugins
from edge.bench import delivery
from edge.command import guarded

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
        delivery.flags(command)
    return parser


def _perform(args: argparse.Namespace) -> int:
    console = delivery.checked(args)
    module: Any = plugins.load(COMMANDS, args.command)
    with _progress(console) as progress:
        found = module.run(args, progress)
    delivery.deliver(console, found, module.sections(found), args)
    return 0


@contextmanager
def _progress(console: Console) -> Iterator[Any]:
    """A bar in a terminal; nothing elsewhere."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting")
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)


if __name__ == "__main__":
    sys.exit(main())
