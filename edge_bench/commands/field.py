"""`edge-bench field FOLDER`: what boards in a field test have measured, as `firmware_scripts.field collect` left it."""

import argparse
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from statistics import median

from pydantic import BaseModel

from edge.errors import ConfigError
from edge.storage import metrics_log
from edge.task import ON_TEST
from edge_report import figures
from edge_report.document import Cell, Section, count, fixed, size
from edge_report.finding import Finding, Progress
from edge_report.specs import CommandSpec

CURVES = {
    **ON_TEST,
    "loss": "loss",
    "consensus_distance": "consensus distance",
    "temperature": "degrees Celsius",
    "memory_mb": "resident memory, MB",
}
"""key of a row -> axis"""
MOST = 12
"""curves in a picture"""


class FieldDevice(BaseModel):
    """One device's rows, oldest first; a round that was repeated after a power cut is there twice."""

    device: str
    rows: list[dict[str, float]]


class FieldTest(Finding):
    """All devices of a field test."""

    command: str = "field"
    devices: list[FieldDevice]


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="that firmware_scripts.field collect has filled")


def run(args: argparse.Namespace, _progress: Progress) -> FieldTest:
    """See `CommandSpec.run`."""
    if not args.folder.is_dir():
        raise ConfigError(f"{args.folder}: there is no such folder; collect one with firmware_scripts.field collect")
    logs = {path.name: metrics_log.read(path) for path in sorted(args.folder.iterdir()) if path.is_dir()}
    devices = [FieldDevice(device=name, rows=rows) for name, rows in logs.items() if rows]
    if not devices:
        raise ConfigError(f"{args.folder}: no folder in it has a {metrics_log.METRICS} with rows")
    return FieldTest(devices=devices)


def sections(test: FieldTest) -> list[Section]:
    """Show a table, and a picture of everything that was measured."""
    pictures = [_curves(key, axis, test.devices) for key, axis in CURVES.items()]
    return [_table(test), *(section for section in pictures if section is not None)]


def _table(test: FieldTest) -> Section:
    scores = _scores(test)
    return Section(
        "field",
        f"{len(test.devices)} devices, {max(_last(d, 'round') or 0 for d in test.devices):.0f} rounds",
        columns=("device", "round", *scores.values(), "s a round", "timeouts", "sent", "hottest", "MB", "refused"),
        rows=[_line(device, scores) for device in test.devices],
        after="Seconds are the median of all rounds; refused are messages that were malformed, foreign or late.",
    )


def _scores(test: FieldTest) -> dict[str, str]:
    """Keys and names of the scores that were measured, accuracy if none was."""
    measured = {key: title for key, title in ON_TEST.items() if any(_last(d, key) is not None for d in test.devices)}
    return measured or {"accuracy_all": ON_TEST["accuracy_all"]}


def _line(device: FieldDevice, scores: Iterable[str]) -> tuple[Cell, ...]:
    def most(key: str) -> Cell:
        values = [row[key] for row in device.rows if key in row]
        return fixed(max(values), 0) if values else ""

    values, sent = [_last(device, key) for key in scores], _last(device, "payload_bytes_sent")
    last = device.rows[-1]
    return (
        device.device,
        count(_last(device, "round") or 0),
        *("" if value is None else fixed(value) for value in values),
        fixed(median(row.get("seconds", 0.0) for row in device.rows), 2),
        count(sum(row.get("timeouts", 0.0) for row in device.rows)),
        size(sent or 0.0),
        most("temperature"),
        most("memory_mb"),
        count(sum(value for key, value in last.items() if key.startswith("refused_"))),
    )


def _curves(key: str, axis: str, devices: list[FieldDevice]) -> Section | None:
    series = {d.device: [(row["round"], row[key]) for row in d.rows if key in row and "round" in row] for d in devices}
    series = {name: points for name, points in list(series.items())[:MOST] if points}
    if not series:
        return None
    of = "" if len(devices) <= MOST else f" (the first {MOST} of {len(devices)} devices)"
    return Section(f"field-{key}", f"{axis} by round{of}", picture=partial(figures.lines, series, "round", axis))


def _last(device: FieldDevice, key: str) -> float | None:
    return next((row[key] for row in reversed(device.rows) if key in row), None)


SPEC = CommandSpec(
    text="Show the metrics of a field test, collected from boards, as tables and curves.",
    finding=FieldTest,
    arguments=arguments,
    run=run,
    sections=sections,
)
