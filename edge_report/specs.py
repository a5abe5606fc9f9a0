"""The `SPEC` of a command that measures, and of a format of reports: what their files declare.

>>> FORMATS.load("csv").render([], Finding(command="wire")).strip()
'section,row,column,value'
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from pydantic.dataclasses import dataclass

from edge.plugins import Family
from edge.specs import CHECKED
from edge_report.document import Section
from edge_report.finding import Finding, Progress

F = TypeVar("F", bound=Finding)


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class CommandSpec(Generic[F]):
    """A command that measures something.

    Args:
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


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class FormatSpec:
    """A kind of file that a report can be written as.

    Args:
        render: from sections and the finding they are of to the text of the file.
    """

    render: Callable[[Sequence[Section], Finding], str]


FORMATS = Family("edge_report.formats", FormatSpec, "format of reports")
