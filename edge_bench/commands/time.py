"""`edge-bench time`."""

import argparse
from pathlib import Path
from statistics import median

from edge.errors import ConfigError
from edge_bench import flags, power, timing
from edge_bench.intervals import interval
from edge_bench.power import State
from edge_bench.timing import DEVICES, Times
from edge_report import figures
from edge_report.document import Number, Section, seconds
from edge_report.finding import Progress
from edge_report.flags import at_least_one

TEXT = "How long a device takes for what it does, and the energy of it where the machine tells."
FINDING = Times


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `edge_bench.commands`."""
    flags.device(parser)
    parser.add_argument("--coding", default="simplex:8", metavar="NAME", help="of soft labels; simplex:8")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="for what takes turns; 4")
    parser.add_argument("--processes", type=int, default=5, metavar="N", help="for cold starts; 5")
    parser.add_argument("--power", type=Path, metavar="FILE", help="what a power meter logs, lines of seconds,watts")


def run(args: argparse.Namespace, progress: Progress) -> Times:
    """See `edge_bench.commands`."""
    if not args.seconds > 0:
        raise ConfigError(f"--seconds {args.seconds}: expected more than 0")
    return timing.measure(
        args.model,
        engine=args.engine,
        batch=at_least_one(args, "batch"),
        reference=at_least_one(args, "reference"),
        coding=args.coding,
        seconds=args.seconds,
        processes=at_least_one(args, "processes"),
        meter=power.meter(args.power),
        progress=progress,
    )


def sections(found: Times) -> list[Section]:
    """A table, a picture, and what the machine says of itself."""
    rows = []
    for line in found.lines:
        low, high = interval(line.seconds)
        name = f"round of {DEVICES} devices" if line.name == "round" else line.name
        energy = "not measured" if line.joules is None else Number(line.joules, f"{1e3 * line.joules:.3g} mJ")
        rows.append((name, seconds(median(line.seconds)), f"{seconds(low)} to {seconds(high)}", energy))
    left = "".join(f"Left out: {name} ({why}). " for name, why in found.left_out.items())
    energy = f"Energy: {found.meter or 'not measured, as nothing here tells it'}"
    idle = "" if found.idle_watts is None else f"; idle {found.idle_watts:.1f} W"
    return [
        Section(
            "times",
            f"{found.model} on {found.engine}, batch {found.batch}, {found.reference} reference rows",
            lead=f"Medians and their 95 % intervals. A message is {found.message_bytes:,} bytes ({found.coding}).",
            columns=("what", "takes", "95 %", "energy"),
            rows=rows,
            after=f"{left}{energy}{idle}. The machine before: {_told(found.before)}; after: {_told(found.after)}.",
            picture=lambda: figures.bars(
                {x.name: {"ms": 1e3 * median(x.seconds)} for x in found.lines}, "ms", logarithmic=True
            ),
        )
    ]


def _told(state: State) -> str:
    words = []
    if state.temperature is not None:
        words.append(f"{state.temperature:.1f} degrees")
    if state.megahertz is not None:
        words.append(f"{state.megahertz:.0f} MHz")
    if state.throttled is not None:
        words.append(", ".join(state.throttled) or "not throttled")
    return ", ".join(words) or "tells nothing of its temperature, clock and throttling"
