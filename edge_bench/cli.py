"""`edge-bench`: measurements, each with its method and its check.

A command is a file of `edge_bench.commands`. All of them write their result as JSON (`edge_bench.record`), show it in
the terminal, and put it into reports (`edge_report.formats`).
"""

import sys

from edge.arguments import CommandParser
from edge.command import guarded
from edge_bench import commands
from edge_bench.commands import COMMANDS
from edge_report import delivery


def main() -> int:
    """Run the console script: exit code 2, after one line, for what the user can put right."""
    return guarded("edge-bench", _run)


def _run() -> int:
    parser = CommandParser(prog="edge-bench", description="Measure; every figure comes with its setting.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name in COMMANDS.names():
        spec = commands.load(name)
        delivery.add_flags(subparsers.add_parser(name, help=spec.text, description=spec.text), spec)
    args = parser.parse_args()
    return delivery.perform(commands.load(args.command), args)


if __name__ == "__main__":
    sys.exit(main())
