"""`edge-bench protocols`."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

from edge_bench import flags
from edge_bench.measurements import protocols
from edge_bench.measurements.protocols import ROWS, Comparison, Moment, ProtocolRow
from edge_report import figures
from edge_report.document import Cell, Number, Section, count, fixed, size
from edge_report.figures import Point
from edge_report.finding import Progress
from edge_report.flags import DEFAULT, add_count, words
from edge_report.specs import CommandSpec
from edge_sim.scenario_files import read
from export.report.cost import PHASES

MOMENTS = 20
"""how often a run is evaluated"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    flags.add_seeds(parser, "0")
    flags.add_fleet(parser, devices=8, rounds=100)
    parser.add_argument("--protocols", metavar="NAME,NAME", help="some protocols (default: all that fit)")
    divisions = "iid|classes:K|dirichlet:A|..."
    parser.add_argument("--split", default="classes:4", metavar=divisions, help="of the data among devices" + DEFAULT)
    parser.add_argument("--split-at", metavar="VALUE", help="where fedgkt cuts the model (default: it is left out)")
    add_count(parser, "--local-steps", 10, "steps of local training a round")
    parser.add_argument("--learning-rate", type=float, default=0.1, metavar="X", help="of local training" + DEFAULT)


def run(args: argparse.Namespace, progress: Progress) -> Comparison:
    """See `CommandSpec.run`."""
    keys = ("data", "holdout", "devices", "topology", "split", "model", "split_at", "reference", "rounds")
    base = {**{key: getattr(args, key) for key in keys}, "evaluate_every": max(1, args.rounds // MOMENTS)}
    read(None, base)
    return protocols.compare(
        base,
        args.seeds,
        names=words(args.protocols),
        local={"local_steps": args.local_steps, "learning_rate": args.learning_rate},
        workers=args.workers,
        progress=progress,
    )


def sections(comparison: Comparison) -> list[Section]:
    """Show the table; accuracy against bytes; curves; the graph; what a step costs."""
    lines = sorted(comparison.lines, key=lambda x: (x.payload_bytes, -x.accuracy_all))
    points = [Point(x.protocol, x.payload_bytes, x.accuracy_all, min(x.by_seed), max(x.by_seed)) for x in lines]
    nodes = sorted({node for edge in comparison.edges for node in edge})
    distance = "distance from the devices' mean"
    return [
        _table(comparison, lines),
        Section("pareto", "Accuracy against bytes", picture=partial(figures.accuracy_by_payload, points)),
        _curves(lines, "accuracy", "Accuracy by round", "accuracy on all classes", lambda m: m.accuracy_all),
        _curves(lines, "consensus", "Consensus distance by round", distance, lambda m: m.consensus_distance),
        Section("topology", "Who neighbours whom", picture=lambda: figures.graph(nodes, comparison.edges)),
        _work(comparison),
        _memory(lines),
    ]


def _table(comparison: Comparison, lines: Sequence[ProtocolRow]) -> Section:
    job = comparison.scenario
    short = flags.short(str(job["data"]))
    return Section(
        "protocols",
        f"{short}, {job['devices']} devices, {job['topology']}, {job['split']}, {job['rounds']} rounds",
        lead=f"Seeds {', '.join(map(str, comparison.seeds))}. Accuracy on all classes, of the worst device, and on the "
        "device's own; bytes and work of one device; * no other is as good for as few bytes.",
        columns=("protocol", "all", "worst", "own", "payload", "wire", "msgs", "MACs", "memory"),
        rows=[_row(line) for line in lines],
        strong=frozenset(i for i, line in enumerate(lines) if line.pareto),
        after=" ".join(f"Left out: {name} ({reason})." for name, reason in comparison.left_out.items()),
    )


def _work(comparison: Comparison) -> Section:
    layers = comparison.layers
    total = sum(sum(layer.macs.values()) for layer in layers)
    millions = {layer.name: {phase: n / 1e6 for phase, n in layer.macs.items()} for layer in layers}
    return Section(
        "flops",
        "Multiply-accumulates of a step",
        lead=f"Of {comparison.dearest}, {ROWS} private rows and as many of the reference set, if it has any.",
        columns=("layer", *PHASES),
        rows=[(x.name, *(count(x.macs.get(phase, 0)) for phase in PHASES)) for x in layers],
        after=f"{count(comparison.distillation_macs)} of {count(total)} are for the reference rows.",
        picture=partial(figures.bars, millions, "million"),
    )


def _memory(lines: Sequence[ProtocolRow]) -> Section:
    megabytes = {line.protocol: {part: n / 1e6 for part, n in line.memory.items()} for line in lines}
    return Section(
        "memory",
        "Memory of a device by plan",
        lead="Without the runtime, the interpreter and messages on their way: edge-bench memory measures those.",
        columns=("protocol", *(lines[0].memory if lines else ())),
        rows=[(line.protocol, *(size(value) for value in line.memory.values())) for line in lines],
        picture=partial(figures.bars, megabytes, "MB"),
    )


def _curves(
    lines: Sequence[ProtocolRow], name: str, title: str, axis: str, of: Callable[[Moment], float | None]
) -> Section:
    series = {x.protocol: [(float(m.round), y) for m in x.curve if (y := of(m)) is not None] for x in lines}
    known = {protocol: points for protocol, points in series.items() if points}
    return Section(name, title, picture=lambda: figures.lines(known, "round", axis))


def _row(line: ProtocolRow) -> tuple[Cell, ...]:
    return (
        line.protocol + (" *" if line.pareto else ""),
        fixed(line.accuracy_all),
        fixed(line.accuracy_worst),
        fixed(line.accuracy_own),
        size(line.payload_bytes),
        size(line.wire_bytes),
        Number(line.messages, f"{line.messages:.0f}"),
        count(line.macs),
        size(sum(line.memory.values())),
    )


SPEC = CommandSpec(
    text="Compare all protocols on one job, on equal terms.",
    finding=Comparison,
    arguments=arguments,
    run=run,
    sections=sections,
)
