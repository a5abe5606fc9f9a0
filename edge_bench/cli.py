"""`edge-bench`: measurements, each with its method and its check.

A command is a file of `edge_bench.commands`; all of them write what they found as JSON (`edge_bench.record`), show it
in the terminal, and put it into a report (`edge_report.formats`).
"""

import argparse
import sys

from edge import plugins
from edge.command import add_plugins, guarded, plugin_flag
from edge_report import delivery

COMMANDS = "edge_bench.commands"


def main() -> int:
    """Console script; exit code 2 and one line for what can be put right."""
    return guarded("edge-bench", lambda: _perform(_parser().parse_args()))


def _perform(args: argparse.Namespace) -> int:
    add_plugins(args)
    return delivery.perform(plugins.load(COMMANDS, args.command), args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-bench", description="Measure; every figure with its setting.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for name in plugins.names(COMMANDS):
        module = plugins.load(COMMANDS, name)
        command = commands.add_parser(name, help=module.TEXT, description=module.TEXT)
        module.arguments(command)
        plugin_flag(command)
        delivery.flags(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
