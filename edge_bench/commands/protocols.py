"""`edge-bench protocols`."""

import argparse
from collections.abc import Callable

from edge_bench import flags, protocols
from edge_bench.protocols import ROWS, Comparison, Line, Moment
from edge_report import figures
from edge_report.document import Cell, Number, Section, count, fixed, size
from edge_report.figures import Point
from edge_report.finding import Progress
from edge_report.flags import words
from edge_sim.scenario_files import read
from export.report.cost import PHASES

TEXT = "All protocols on one job, on equal terms."
FINDING = Comparison
MOMENTS = 20
"""times a run is evaluated"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `edge_bench.commands`."""
    flags.fleets(parser, "0")
    parser.add_argument("--protocols", metavar="NAME,NAME", help="only these")
    parser.add_argument("--devices", type=int, default=8, metavar="N")
    parser.add_argument("--topology", default="ring")
    parser.add_argument("--split", default="classes:4", metavar="iid|classes:K|dirichlet:A|...")
    parser.add_argument("--model", default="zoo:mlp:64-32", metavar="zoo:NAME|FILE.onnx")
    parser.add_argument("--split-at", metavar="VALUE", help="where fedgkt cuts the model; it is left out otherwise")
    parser.add_argument("--reference", default="300", metavar="N|npz:PATH")
    parser.add_argument("--rounds", type=int, default=100, metavar="R")
    parser.add_argument("--local-steps", type=int, default=10, metavar="N")
    parser.add_argument("--learning-rate", type=float, default=0.1, metavar="X")


def run(args: argparse.Namespace, progress: Progress) -> Comparison:
    """See `edge_bench.commands`."""
    base = {
        "data": args.data,
        "devices": args.devices,
        "topology": args.topology,
        "split": args.split,
        "model": args.model,
        "split_at": args.split_at,
        "reference": args.reference,
        "rounds": args.rounds,
        "evaluate_every": max(1, args.rounds // MOMENTS),
    }
    read(None, base)
    return protocols.compare(
        base,
        flags.seeds(args),
        names=words(args.protocols),
        local={"local_steps": args.local_steps, "learning_rate": args.learning_rate},
        workers=flags.workers(args),
        progress=progress,
    )


def sections(found: Comparison) -> list[Section]:
    """The table; accuracy against bytes; curves; the graph; what a step costs."""
    job = found.scenario
    lines = sorted(found.lines, key=lambda x: (x.payload_bytes, -x.accuracy_all))
    short = flags.short(str(job["data"]))
    table = Section(
        "protocols",
        f"{short}, {job['devices']} devices, {job['topology']}, {job['split']}, {job['rounds']} rounds",
        lead=f"Seeds {', '.join(map(str, found.seeds))}. Accuracy on all classes, of the worst device, and on the "
        "device's own; bytes and work of one device; * nobody is better for fewer bytes.",
        columns=("protocol", "all", "worst", "own", "payload", "wire", "msgs", "MACs", "memory"),
        rows=[_row(line) for line in lines],
        strong=frozenset(i for i, line in enumerate(lines) if line.pareto),
        after=" ".join(f"Left out: {name} ({reason})." for name, reason in found.left_out.items()),
    )
    points = [Point(x.protocol, x.payload_bytes, x.accuracy_all, min(x.by_seed), max(x.by_seed)) for x in lines]
    whole = sum(sum(layer.macs.values()) for layer in found.layers)
    nodes = sorted({node for edge in found.edges for node in edge})
    return [
        table,
        Section(
            "pareto",
            "Accuracy against bytes",
            picture=lambda: figures.scatter(points, "payload bytes a device (| none)", "accuracy on all classes"),
        ),
        _curves(lines, "accuracy", "Accuracy by round", "accuracy on all classes", lambda m: m.accuracy_all),
        _curves(
            lines, "consensus", "Disagreement by round", "distance from the devices' mean", lambda m: m.disagreement
        ),
        Section("topology", "Who neighbours whom", picture=lambda: figures.graph(nodes, found.edges)),
        Section(
            "flops",
            "Multiply-accumulates of a step",
            lead=f"Of {found.dearest}, {ROWS} private rows and as many of the reference set, if it has any.",
            columns=("layer", *PHASES),
            rows=[(x.name, *(count(x.macs.get(phase, 0)) for phase in PHASES)) for x in found.layers],
            after=f"{count(found.distillation_macs)} of {count(whole)} are for the reference rows.",
            picture=lambda: figures.bars(
                {layer.name: {phase: n / 1e6 for phase, n in layer.macs.items()} for layer in found.layers}, "million"
            ),
        ),
        Section(
            "memory",
            "Memory of a device by plan",
            lead="Without the runtime, the interpreter and messages on their way: edge-bench memory measures those.",
            columns=("protocol", *(lines[0].memory if lines else ())),
            rows=[(line.protocol, *(size(value) for value in line.memory.values())) for line in lines],
            picture=lambda: figures.bars(
                {line.protocol: {part: n / 1e6 for part, n in line.memory.items()} for line in lines}, "MB"
            ),
        ),
    ]


def _curves(lines: list[Line], name: str, title: str, axis: str, of: Callable[[Moment], float | None]) -> Section:
    series = {x.protocol: [(float(m.round), y) for m in x.curve if (y := of(m)) is not None] for x in lines}
    known = {protocol: points for protocol, points in series.items() if points}
    return Section(name, title, picture=lambda: figures.lines(known, "round", axis))


def _row(line: Line) -> tuple[Cell, ...]:
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
