"""An emulation in the terminal: a live table while it runs, a comparison at the end."""

from collections.abc import Iterator, Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from edge import outcome
from edge.task import CLASSIFICATION
from edge_report.document import size
from edge_sim.convergence import window
from edge_sim.result import Accuracy, DeviceResult, Result, Summary
from edge_sim.run import Frame

SHOWN = 16
"""devices that a live table lists; of a larger fleet it shows the first few and the mean"""
EXAMPLES = 3
"""devices that have learnt nothing of which the reasons are printed"""


class Display:
    """A watcher for `edge_sim.run`; without a terminal it prints a line every tenth of the way."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live: Live | None = None
        self._protocol = ""
        self._accuracies: Sequence[Accuracy] = ()
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        )

    def __enter__(self) -> "Display":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def __call__(self, frame: Frame) -> None:
        """Show the fleet after a round."""
        self._accuracies = [(heads[-1][0], heads[0][1]) for heads in frame.accuracies if heads]
        if not self.console.is_terminal:
            self._print_sometimes(frame)
            return
        if frame.protocol != self._protocol:
            self._start(frame)
        assert self._live is not None
        self._progress.update(self._progress.task_ids[-1], completed=frame.latest.round)
        self._live.update(Group(self._progress, self._table(frame)))
        if frame.latest.round == frame.rounds:
            self._stop()

    def _start(self, frame: Frame) -> None:
        self._stop()
        self._protocol = frame.protocol
        for task in self._progress.task_ids:
            self._progress.remove_task(task)
        self._progress.add_task(f"[bold]{frame.protocol}[/] over {frame.place}", total=frame.rounds)
        self._live = Live(console=self.console, refresh_per_second=8)
        self._live.start()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self, frame: Frame) -> Table:
        table = Table("device", "classes", box=None, pad_edge=False)
        for heading in ("round", "loss", "own classes", "all classes", "sent"):
            table.add_column(heading, justify="right")
        rows = list(zip(frame.devices, self._accuracies, strict=True))
        for device, (of_all, of_own) in rows[:SHOWN]:
            table.add_row(
                device.id,
                classes(device.classes),
                f"{device.row['round']:.0f}",
                loss(device.row.get("loss")),
                f"{of_own:.3f}",
                f"{of_all:.3f}",
                str(size(device.traffic.payload_bytes_sent)),
            )
        n = len(rows)
        table.add_section()
        table.add_row(
            f"mean of {n}",
            "",
            str(frame.latest.round),
            loss(frame.latest.loss),
            f"{sum(own for _, (_, own) in rows) / n:.3f}",
            f"[bold]{sum(of_all for _, (of_all, _) in rows) / n:.3f}[/]",
            str(size(frame.latest.payload_bytes_total / n)),
        )
        return table

    def _print_sometimes(self, frame: Frame) -> None:
        latest, tenth = frame.latest, max(1, frame.rounds // 10)
        if latest.round % tenth and latest.round != frame.rounds:
            return
        n = len(self._accuracies)
        self.console.print(
            f"{frame.protocol:>16}  round {latest.round:>4}/{frame.rounds}  loss {loss(latest.loss)}  "
            f"own {sum(own for _, own in self._accuracies) / n:.3f}  "
            f"all {sum(of_all for of_all, _ in self._accuracies) / n:.3f}  "
            f"sent {size(latest.payload_bytes_total / n)} a device",
            highlight=False,
            soft_wrap=True,
        )


def report(console: Console, result: Result) -> None:
    """Print the comparison, or the one line there is."""
    summaries = result.comparison or [result.summary()]
    over = "over all classes" if result.metric == CLASSIFICATION.metric else "over all labels"
    table = Table(title=f"Test {result.metric} {over}, and what each device sent", title_justify="left")
    table.add_column("protocol", no_wrap=True)
    for heading in ("mean", "worst", "own classes", "payload", "messages", "seconds"):
        table.add_column(heading, justify="right")
    for summary in summaries:
        table.add_row(*_cells(summary), style="bold" if summary.protocol == result.protocol else "")
    console.print(table)
    if result.interrupted:
        console.print(f"Interrupted after round {len(result.rounds)} of {result.scenario['rounds']}.", style="bold")
    unlearnt = _not_learnt(summaries, result)
    against = _against_weights(summaries, result.protocol, result.metric)
    for line in (against, _by_head(result), _convergence(result), *unlearnt):
        if line:
            console.print(line, highlight=False, soft_wrap=True)


def _cells(line: Summary) -> tuple[str, ...]:
    return (
        line.protocol,
        f"{line.mean_accuracy:.3f}",
        f"{line.worst_accuracy:.3f}",
        f"{line.mean_accuracy_own:.3f}",
        str(size(line.payload_bytes_per_device)),
        f"{line.messages_per_device:.0f}",
        f"{line.seconds:.1f}",
    )


def _against_weights(summaries: Sequence[Summary], protocol: str, metric: str) -> str:
    """Compare a protocol with the costliest of the table in a sentence, if that is another one."""
    ours = next(s for s in summaries if s.protocol == protocol)
    costly = max(summaries, key=lambda s: s.payload_bytes_per_device)
    if costly.protocol == protocol or not ours.payload_bytes_per_device:
        return ""
    ratio = costly.payload_bytes_per_device / ours.payload_bytes_per_device
    points = 100 * (ours.mean_accuracy - costly.mean_accuracy)
    side = "above" if points >= 0 else "below"
    return (
        f"{protocol} sent {ratio:.1f} times less than {costly.protocol}, {abs(points):.1f} points {side} its {metric}."
    )


def _not_learnt(summaries: Sequence[Summary], result: Result) -> Iterator[str]:
    """Say which devices have learnt nothing."""
    for summary in summaries:
        if not summary.not_learnt:
            continue
        count = f"{summary.protocol}: {summary.not_learnt} of {len(result.devices)} devices have learnt nothing"
        if summary.protocol != result.protocol:
            yield f"{count}."
            continue
        devices = [device for device in result.devices if device.outcome]
        words = "; ".join(map(_why, devices[:EXAMPLES]))
        yield f"{count}. {words}{'; ...' if len(devices) > EXAMPLES else ''}"


def _why(device: DeviceResult) -> str:
    return f"{device.id}: {', '.join(outcome.sentences(device.outcome, device.accuracy_all, device.loss))}"


def _by_head(result: Result) -> str:
    """Return both accuracies of every head, means over the devices, if there are several heads."""
    heads = list(zip(*(d.accuracy_by_head for d in result.devices), strict=True))
    if not heads:
        return ""
    of_all, of_own = ([sum(a[i] for a in head) / len(head) for head in heads] for i in (0, 1))
    texts = ("  ".join(f"{a:.3f}" for a in values) for values in (of_own, of_all))
    return "By head, the main one first: own classes {}; all classes {}".format(*texts)


def _convergence(result: Result) -> str:
    """Say how far the fleet went towards a stationary point, if that was measured."""
    measured = [r.metrics for r in result.rounds if "gradient_norm" in r.metrics]
    if not measured:
        return ""
    size = max(1, min(5, len(measured) // 2))
    parts = []
    for key, name in (("gradient_norm", "gradient norm"), ("consensus_error", "consensus error")):
        first, last, ratio = window([m[key] for m in measured], size)
        parts.append(f"{name} {first:.3g} to {last:.3g} ({ratio:.2f})")
    return f"{'; '.join(parts)}; means of {size} measurements. Spectral gap {result.spectral_gap:.3f}."


def classes(held: Sequence[int]) -> str:
    """List classes, cut after ten.

    >>> classes([0, 3, 4, 9])
    '0 3 4 9'
    """
    return " ".join(map(str, held[:10])) + (" ..." if len(held) > 10 else "")


def loss(value: float | None) -> str:
    """Format a loss; a dash for a device that did not train."""
    return "-" if value is None else f"{value:.3f}"
