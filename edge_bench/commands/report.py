"""`edge-bench report RESULT.json ... --report out.html`: several results in one report."""

import argparse
from pathlib import Path
from typing import Any

from pydantic import SerializeAsAny, field_validator

from edge import plugins
from edge.errors import ConfigError
from edge_bench.record import parsed, read
from edge_report.document import Section
from edge_report.finding import Finding, Progress

TEXT = "What other commands wrote as JSON, in one report."


class Collection(Finding):
    """Several findings; the environment is that of the first."""

    command: str = "report"
    findings: list[SerializeAsAny[Finding]]

    @field_validator("findings", mode="before")
    @classmethod
    def _each(cls, values: list[Any]) -> list[Finding]:
        return [value if isinstance(value, Finding) else parsed(value, "a finding") for value in values]


FINDING = Collection


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `edge_bench.commands`."""
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULT.json")


def run(args: argparse.Namespace, _progress: Progress) -> Collection:
    """See `edge_bench.commands`."""
    if not args.report and not args.json:
        raise ConfigError("say where to: --report OUT.html, or --json OUT.json")
    findings = [read(path) for path in args.results]
    return Collection(environment=findings[0].environment, findings=findings)


def sections(found: Collection) -> list[Section]:
    """All of all."""
    return [s for one in found.findings for s in plugins.load("edge_bench.commands", one.command).sections(one)]
