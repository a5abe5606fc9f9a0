"""`edge-bench report RESULT.json ... --report out.html`: several results in one report."""

import argparse
from pathlib import Path
from typing import Any

from pydantic import SerializeAsAny, field_validator

from edge.errors import ConfigError
from edge_bench import commands
from edge_bench.record import parsed, read
from edge_report.document import Section
from edge_report.finding import Finding, Progress
from edge_report.specs import CommandSpec


class Collection(Finding):
    """Several findings; the environment is that of the first."""

    command: str = "report"
    findings: list[SerializeAsAny[Finding]]

    @field_validator("findings", mode="before")
    @classmethod
    def _each(cls, values: list[Any]) -> list[Finding]:
        return [value if isinstance(value, Finding) else parsed(value, "a finding") for value in values]


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULT.json")


def run(args: argparse.Namespace, _progress: Progress) -> Collection:
    """See `CommandSpec.run`."""
    if not args.report and not args.json:
        raise ConfigError("say where to: --report OUT.html, or --json OUT.json")
    findings = [read(path) for path in args.results]
    return Collection(environment=findings[0].environment, findings=findings)


def sections(collection: Collection) -> list[Section]:
    """Show the sections of every finding, one after the other."""
    return [section for one in collection.findings for section in commands.load(one.command).sections(one)]


SPEC = CommandSpec(
    text="Put the results that other commands wrote as JSON into one report.",
    finding=Collection,
    arguments=arguments,
    run=run,
    sections=sections,
)
