"""Pictures as SVG text, drawn by matplotlib: transparent, narrow enough for a phone, readable on light and on dark.

Lines and letters have the colour of the text around them; what carries meaning has colours between light and dark.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from typing import Any

from edge.errors import ConfigError

INK = "#010203"
"""stands for the colour of the text around a picture"""
COLOURS = (
    *("#3b82c4", "#d9822b", "#3f9b4f", "#c94f4f", "#8a63c2"),
    *("#9a7650", "#cc6fa8", "#7f8790", "#a09a2a", "#2aa3b5", "#5f6fd6", "#b56b5a"),
)
MARKERS = "osD^v<>pPX*h"
WIDTH, HEIGHT = 4.6, 3.1
"""inches of the axes; a legend is below them"""
STYLE = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "font.size": 9,
    "axes.titlesize": 10,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class Point:
    """One setting. low, high: the range of its ordinate."""

    label: str
    x: float
    y: float
    low: float
    high: float


Series = Mapping[str, Sequence[tuple[float, float]]]
"""label -> (x, y)"""


def scatter(points: Sequence[Point], x: str, y: str, *, logarithmic: bool = False) -> str:
    """Draw points over a logarithmic abscissa.

    Args:
        points: those at 0 are drawn at the left edge, as a bar.
        x: what the abscissa is.
        y: what the ordinate is.
        logarithmic: whether the ordinate is, too.

    Returns:
        The text of an SVG element.
    """
    canvas = _Canvas(HEIGHT, legend=len(points))
    least = min((p.x for p in points if p.x > 0), default=1.0)
    for i, point in enumerate(sorted(points, key=lambda p: (p.x, p.y))):
        canvas.axes.errorbar(
            point.x if point.x > 0 else least / 3,
            point.y,
            yerr=[[point.y - point.low], [point.high - point.y]],
            fmt=MARKERS[i % 12] if point.x > 0 else "|",
            color=COLOURS[i % len(COLOURS)],
            capsize=2,
            markersize=5 if point.x > 0 else 12,
            label=point.label,
        )
    canvas.axes.set_xscale("log")
    if logarithmic:
        canvas.axes.set_yscale("log")
    return canvas.svg(x, y)


def accuracy_by_payload(points: Sequence[Point]) -> str:
    """Draw accuracy on all classes over the payload bytes of a device."""
    return scatter(points, "payload bytes a device (| none)", "accuracy on all classes")


def lines(series: Series, x: str, y: str, *, from_zero: bool = False) -> str:
    """Draw a line for each series. from_zero: whether the ordinate begins there.

    >>> lines({"d-psgd": [(1, 0.2), (2, 0.5)]}, "round", "accuracy").startswith("<svg")
    True
    """
    canvas = _Canvas(HEIGHT, legend=len(series))
    for i, (label, line) in enumerate(series.items()):
        style = ("-", "--", ":")[i // len(COLOURS) % 3]
        few = MARKERS[i % 12] if len(line) < 3 else ""
        canvas.axes.plot(
            *zip(*line, strict=True), style, marker=few, color=COLOURS[i % len(COLOURS)], lw=1.3, label=label
        )
    if from_zero:
        canvas.axes.set_ylim(bottom=0)
    if all(point[0] == int(point[0]) for line in series.values() for point in line):
        canvas.axes.xaxis.get_major_locator().set_params(integer=True)
    return canvas.svg(x, y)


def bars(parts: Mapping[str, Mapping[str, float]], x: str, *, logarithmic: bool = False) -> str:
    """Draw horizontal bars, the first on top: label -> part -> length. A part has the same colour in all bars."""
    known = list(dict.fromkeys(part for row in parts.values() for part in row))
    canvas = _Canvas(0.4 + 0.21 * len(parts), legend=len(known) if len(known) > 1 else 0)
    ends = dict.fromkeys(parts, 0.0)
    for i, part in enumerate(known):
        lengths = {label: row.get(part, 0.0) for label, row in parts.items()}
        starts = list(ends.values())
        canvas.axes.barh(
            range(len(parts)), list(lengths.values()), 0.72, starts, color=COLOURS[i % len(COLOURS)], label=part
        )
        ends = {label: end + lengths[label] for label, end in ends.items()}
    canvas.axes.set_yticks(range(len(parts)), [_short(label) for label in parts])
    canvas.axes.invert_yaxis()
    canvas.axes.tick_params(axis="y", length=0)
    canvas.axes.margins(y=0.01)
    if logarithmic:
        canvas.axes.set_xscale("log")
    return canvas.svg(x, "", grid="x")


def graph(nodes: Sequence[str], edges: Sequence[tuple[str, str]]) -> str:
    """Draw a graph, its nodes on a circle."""
    canvas = _Canvas(HEIGHT, legend=0)
    at = {n: (sin(2 * pi * i / len(nodes)), cos(2 * pi * i / len(nodes))) for i, n in enumerate(nodes)}
    for a, b in edges:
        canvas.axes.plot(*zip(at[a], at[b], strict=True), color=COLOURS[7], lw=1, zorder=1)
    large = 300 if len(nodes) <= 30 else 40
    canvas.axes.scatter(*zip(*at.values(), strict=True), s=large, color=COLOURS[0], zorder=2)
    if len(nodes) <= 30:
        for name, (right, up) in at.items():
            canvas.axes.text(right, up, name.rpartition("-")[2], ha="center", va="center", color="white", fontsize=7)
    canvas.axes.set_aspect("equal")
    canvas.axes.margins(0.08)
    canvas.axes.axis("off")
    return canvas.svg("", "", grid="")


class _Canvas:
    """A figure with one pair of axes. matplotlib is loaded here only."""

    def __init__(self, height: float, legend: int) -> None:
        try:
            import matplotlib as mpl
            from matplotlib.figure import Figure
        except ImportError:
            raise ConfigError("pictures need matplotlib: pip install 'murmur-edge[bench]'") from None
        self._context = mpl.rc_context
        self._legend = legend > 1
        with mpl.rc_context(STYLE):
            rows = (legend + 1) // 2 if legend > 1 else 0
            self.figure = Figure(figsize=(WIDTH, max(height, 0.8) + 0.6 + 0.17 * rows), layout="constrained")
            self.axes: Any = self.figure.subplots()

    def svg(self, x: str, y: str, grid: str = "both") -> str:
        """Finish, and return the text of an SVG element."""
        with self._context({**STYLE, "svg.hashsalt": x + y}):
            self.axes.set_xlabel(x)
            self.axes.set_ylabel(y)
            if grid:
                self.axes.grid(axis=grid)
                self.axes.set_axisbelow(True)
            if self._legend:
                self.figure.legend(loc="outside lower center", ncols=2)
            out = io.StringIO()
            self.figure.savefig(out, format="svg", metadata={"Date": None})
        text = out.getvalue()
        return text[text.index("<svg") :].replace(INK, "currentColor")


def _short(label: str) -> str:
    return label if len(label) <= 26 else label[:12] + ".." + label[-12:]
