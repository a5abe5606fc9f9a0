"""Commands of `edge-bench`, one file each, named as on the command line.

A file has a `SPEC` (`edge_report.specs.CommandSpec`). Where the method takes more than a few lines, it is the module of
the same name in `edge_bench.measurements`, and the file here has only the flags and what people see.
"""

from typing import Any

from edge import plugins
from edge.errors import ConfigError
from edge_report import specs
from edge_report.specs import CommandSpec

PACKAGE = "edge_bench.commands"


def names() -> list[str]:
    """Return the names of all commands."""
    return plugins.names(PACKAGE)


def load(name: str) -> CommandSpec[Any]:
    """Return the spec of a command.

    Raises:
        ConfigError: no command has that name, or its spec is not whole.

    >>> load("wire").finding.__name__
    'Wire'
    """
    spec = specs.load(PACKAGE, name, CommandSpec)
    written = spec.finding.model_fields["command"].default
    if written != name:
        raise ConfigError(f"{PACKAGE}.{name}: its finding says that it is of the command '{written}'")
    return spec
