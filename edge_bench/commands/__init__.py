"""Commands of `edge-bench`, one file each, named as on the command line.

A file has a `SPEC` (`edge_report.specs.CommandSpec`). Where the method takes more than a few lines, it is the module of
the same name in `edge_bench.measurements`, and the file here has only the flags and what people see.
"""

from typing import Any

from edge.errors import ConfigError
from edge.plugins import Family
from edge_report.specs import CommandSpec

COMMANDS: Family[CommandSpec[Any]] = Family("edge_bench.commands", CommandSpec, "command")


def load(name: str) -> CommandSpec[Any]:
    """Return the spec of a command.

    Raises:
        ConfigError: no command has that name, or its spec is not whole.

    >>> load("wire").finding.__name__
    'Wire'
    """
    spec = COMMANDS.load(name)
    written = spec.finding.model_fields["command"].default
    if written != name:
        raise ConfigError(f"the command '{name}': its finding says that it is of the command '{written}'")
    return spec
