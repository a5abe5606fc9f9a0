"""`edge-bench time`."""

import argparse
from pathlib import Path
from statistics import median

from edge_bench import flags, power
from edge_bench.intervals import interval
from edge_bench.measurements import time
from edge_bench.measurements.time import DEVICES, TimeRow, Times
from edge_bench.power import MachineState
from edge_report import figures
from edge_report.document import Cell, Number, Section, seconds
from edge_report.finding import Progress
from edge_report.flags import DEFAULT, add_count, add_seconds
from edge_report.specs import CommandSpec


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    flags.add_device(parser)
    parser.add_argument("--coding", default="simplex:8", metavar="NAME", help="of soft labels" + DEFAULT)
    add_seconds(parser, "--seconds", 4.0, "for all that takes turns")
    add_count(parser, "--processes", 5, "cold starts")
    parser.add_argument("--power", type=Path, metavar="FILE", help="log of a power meter, lines of seconds,watts")


def run(args: argparse.Namespace, progress: Progress) -> Times:
    """See `CommandSpec.run`."""
    return time.measure(
        args.model,
        engine=args.engine,
        batch=args.batch,
        reference=args.reference,
        coding=args.coding,
        seconds=args.seconds,
        processes=args.processes,
        meter=power.meter(args.power),
        progress=progress,
    )


def sections(times: Times) -> list[Section]:
    """Show a table, a picture, and the machine's sensors."""
    left = "".join(f"Left out: {name} ({why}). " for name, why in times.left_out.items())
    energy = f"Energy: {times.meter or 'not measured, as this machine has no meter'}"
    idle = "" if times.idle_watts is None else f"; idle {times.idle_watts:.1f} W"
    machine = f"The machine before: {_sensors(times.before)}; after: {_sensors(times.after)}."
    return [
        Section(
            "times",
            f"{times.model} on {times.engine}, batch {times.batch}, {times.reference} reference rows",
            lead=f"Medians and their 95 % intervals. A message is {times.message_bytes:,} bytes ({times.coding}).",
            columns=("what", "takes", "95 %", "energy"),
            rows=[_row(line) for line in times.lines],
            after=f"{left}{energy}{idle}. {machine}",
            picture=lambda: figures.bars(
                {x.name: {"ms": 1e3 * median(x.seconds)} for x in times.lines}, "ms", logarithmic=True
            ),
        )
    ]


def _row(line: TimeRow) -> tuple[Cell, ...]:
    low, high = interval(line.seconds)
    name = f"round of {DEVICES} devices" if line.name == "round" else line.name
    energy = "not measured" if line.joules is None else Number(line.joules, f"{1e3 * line.joules:.3g} mJ")
    return name, seconds(median(line.seconds)), f"{seconds(low)} to {seconds(high)}", energy


def _sensors(state: MachineState) -> str:
    words = []
    if state.temperature is not None:
        words.append(f"{state.temperature:.1f} degrees")
    if state.megahertz is not None:
        words.append(f"{state.megahertz:.0f} MHz")
    if state.throttled is not None:
        words.append(", ".join(state.throttled) or "not throttled")
    return ", ".join(words) or "temperature, clock and throttling unknown"


SPEC = CommandSpec(
    text="Time what a device does, and measure its energy where the machine has a meter.",
    finding=Times,
    arguments=arguments,
    run=run,
    sections=sections,
)
