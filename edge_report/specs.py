"""What a command that measures, and a format of reports, say about themselves: the `SPEC` in their files."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from edge import plugins
from edge.errors import ConfigError
from edge_report.document import Section
from edge_report.finding import Finding, Progress

F = TypeVar("F", bound=Finding)
S = TypeVar("S")


@dataclass(frozen=True, kw_only=True)
class CommandSpec(Generic[F]):
    """A command that measures something.

    Attributes:
        text: one sentence for the help.
        finding: the model of its result, which is what its JSON file holds.
        arguments: adds the command's own flags to a parser.
        run: measures, given the parsed arguments and a function that shows progress; raises ConfigError, before it
            measures anything, for what cannot be.
        sections: of a result, for people: described once for the terminal and all formats of reports.
    """

    text: str
    finding: type[F]
    arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace, Progress], F]
    sections: Callable[[F], list[Section]]


@dataclass(frozen=True, kw_only=True)
class FormatSpec:
    """A kind of file that a report can be written as.

    Attributes:
        render: from sections and the finding they are of to the text of the file.
    """

    render: Callable[[Sequence[Section], Finding], str]


def load(package: str, name: str, kind: type[S], noun: str = "") -> S:
    """Import one plug-in of a package and return its spec.

    Args:
        package: dotted name of the package that the plug-ins are in.
        name: of the plug-in, as on the command line.
        kind: class that its `SPEC` has to be of.
        noun: what a plug-in of the package is called in an error message.

    Returns:
        The `SPEC` of the module.

    Raises:
        ConfigError: no plug-in has that name, or what has it has no such `SPEC`.

    >>> load("edge_report.formats", "csv", FormatSpec).render([], Finding(command="wire")).strip()
    'section,row,column,value'
    """
    spec: Any = getattr(plugins.load(package, name, noun), "SPEC", None)
    if not isinstance(spec, kind):
        raise ConfigError(f"{package}.{name}: expected SPEC = {kind.__name__}(...), not {type(spec).__name__}")
    return spec
