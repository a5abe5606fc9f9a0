"""Tables for people."""

from collections import Counter
from collections.abc import Callable
from statistics import median
from textwrap import fill

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.bench.compare import Comparison as Compared
from edge.bench.engines import REFERENCE, Engines
from edge.bench.privacy import Budgets
from edge.bench.protocols import Comparison
from edge.bench.record import Report
from edge.bench.wire import Wire
from edge.sim.display import size


def report(console: Console, found: Report) -> None:
    """Claim and verdict; what it says, what the paper has, what we found."""
    seeds = ", ".join(map(str, found.seeds))
    table = Table(title=f"{found.data}, seeds {seeds}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("claim", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("says")
    for row in found.rows:
        style = "green" if row.verdict == "holds" else "bold red"
        text = f"{escape(row.statement)}\n[dim]paper: {escape(row.paper)}[/]\n[bold]ours: {escape(row.ours)}[/]"
        table.add_row(row.claim, f"[{style}]{row.verdict}[/]", text)
    console.print(table)
    failed = [row.claim for row in found.rows if row.verdict == "fails"]
    said = f"; not here: {', '.join(failed)}" if failed else ""
    held = len(found.rows) - len(failed)
    console.print(f"{held} of {len(found.rows)} claims hold{said}. {found.seconds:.0f} s.", highlight=False)


def comparison(console: Console, found: Comparison) -> None:
    """One line a protocol, the cheapest first; those on the Pareto front in bold."""
    job = found.scenario
    console.print(
        f"{job['data']}, {job['devices']} devices, {job['split']}, {job['rounds']} rounds, seeds "
        f"{', '.join(map(str, found.seeds))}. Accuracy on all classes, of the worst device, and on the device's own; "
        "bytes and work of one device; * nobody is better for fewer bytes.",
        highlight=False,
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("protocol")
    for heading in ("all", "worst", "own", "payload", "wire", "msgs", "MACs", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in sorted(found.lines, key=lambda x: (x.payload_bytes, -x.accuracy_all)):
        table.add_row(
            fill(line.protocol + ("\N{NO-BREAK SPACE}*" if line.pareto else ""), 20),
            f"{line.accuracy_all:.3f}",
            f"{line.accuracy_worst:.3f}",
            f"{line.accuracy_own:.3f}",
            size(line.payload_bytes),
            size(line.wire_bytes),
            f"{line.messages:.0f}",
            _count(line.macs),
            size(line.memory),
            style="bold" if line.pareto else "",
        )
    console.print(table)
    for name, reason in found.left_out.items():
        console.print(f"left out: {name} ({reason})", highlight=False, soft_wrap=True)


def _count(value: float) -> str:
    for unit in ("", " k", " M", " G", " T"):
        if value < 1000:
            return f"{value:.0f}{unit}" if not unit else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.1f} P"


def wire(console: Console, found: Wire) -> None:
    """A table, smallest bodies last."""
    title = f"{found.rows} rows of {found.classes} classes; means of {len(found.rounds)} rounds"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("coding", no_wrap=True, min_width=12)
    for heading in ("bytes", "smaller", "KL", "argmax", "entropy", "given", "MB/s in", "out"):
        table.add_column(heading, justify="right", no_wrap=True)
    for line in sorted(found.lines, key=lambda x: -x.bytes):
        entropies = ("" if v is None else f"{v:,.0f}" for v in (line.zero_order, line.conditional))
        table.add_row(
            line.coding,
            f"{line.bytes:,.0f}",
            f"{line.smaller:.1f}x",
            f"{line.divergence:.1e}",
            f"{100 * line.argmax:.3g}%",
            *entropies,
            f"{median(line.encode_mb_s):.0f}",
            f"{median(line.decode_mb_s):.0f}",
        )
    console.print(table)
    low, high = found.accuracy
    console.print(f"The model is right in {low:.1%} of the rows in the first of these rounds, {high:.1%} in the last.")


def privacy(console: Console, found: Budgets) -> None:
    """A table."""
    first = found.lines[0]
    console.print(f"{first.rows} rows in {first.rounds} rounds, delta {first.delta:g}, for all that a device holds")
    table = Table(box=SIMPLE_HEAD)
    for heading in ("noise", "epsilon"):
        table.add_column(heading, justify="left" if heading == "noise" else "right")
    for line in found.lines:
        table.add_row(line.noise, "infinite" if line.epsilon is None else f"{line.epsilon:.4g}")
    console.print(table)
    console.print("Above 10 or so this is no promise to speak of.")


def compared(console: Console, found: Compared, *, everything: bool) -> None:
    """What changed; or all that both have."""
    for key, (one, two) in found.environment.items():
        console.print(f"{key}: {one or 'unknown'} -> {two or 'unknown'}", highlight=False)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("what", overflow="fold")
    for heading in ("first", "second", "ratio", "95 %", ""):
        table.add_column(heading, justify="left" if heading == "" else "right", no_wrap=True)
    shown = [change for change in found.changes if everything or change.verdict != "same"]
    for change in shown:
        known = "" if change.low is None else f"{change.low:.3g} to {change.high:.3g}"
        of = "" if change.ratio is None else f"{change.ratio:.3g}"
        table.add_row(change.path, f"{change.first:.6g}", f"{change.second:.6g}", of, known, change.verdict)
    if shown:
        console.print(table)
    count = Counter(change.verdict for change in found.changes)
    noisy = f"{count['changed']} changed beyond noise, {count['differs']} differ (too few to tell)"
    console.print(f"Of {len(found.changes)} numbers in both {noisy}, {count['same']} are the same.", highlight=False)
    for name, paths in (("first", found.only_first), ("second", found.only_second)):
        if paths:
            console.print(f"only in the {name}: {len(paths)}, e.g. {paths[0]}", highlight=False)


def engines(console: Console, found: Engines) -> None:
    """A table of medians, each with its ratio to PyTorch."""
    table = Table(title=f"{found.model}, batch {found.batch}, one thread; medians of {found.rounds} processes each")
    for heading in ("engine", "installed", "first step", "peak memory", "step", "loss after 20"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    columns: dict[str, Callable[[float], str]] = {
        "installed_bytes": lambda v: f"{v / 1e6:.0f} MB",
        "first_step_seconds": lambda v: f"{v:.2f} s",
        "peak_bytes": lambda v: f"{v / 1e6:.0f} MB",
        "step_seconds": lambda v: f"{v * 1e3:.2f} ms",
    }
    for line in found.lines:
        cells = []
        for what, text in columns.items():
            ratio = found.ratio(line, what)
            share = "" if ratio is None or line.name == REFERENCE else f"\n({ratio:.3f})"
            cells.append(text(line.median(what)) + share)
        versions = " ".join(v for k, v in line.versions.items() if k != "numpy")
        table.add_row(f"{line.name}\n{versions}", *cells, f"{line.loss:.5f}")
    console.print(table)
    if any(line.name == REFERENCE for line in found.lines):
        console.print("In brackets: share of PyTorch's.", highlight=False)
    for name, why in found.left_out.items():
        console.print(f"left out: {name} ({why})", highlight=False)
