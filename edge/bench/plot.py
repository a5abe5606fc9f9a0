"""Accuracy against bytes, one picture a system."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.bench.record import Run, mean
from edge.errors import ConfigError


@dataclass(frozen=True)
class Point:
    """One setting. payload: bytes a device; none at all is drawn at the left edge."""

    label: str
    payload: float
    accuracy: float
    low: float
    high: float


def of_run(run: Run) -> Point:
    """Means over the seeds, with their range."""
    found = run.mean_accuracy
    return Point(run.name, mean(run.payload_bytes_per_device), mean(found), min(found), max(found))


def pareto(title: str, points: Sequence[Point], path: Path) -> None:
    """Draw accuracy over payload bytes (logarithmic) into an SVG or PNG file. Raises ConfigError if it cannot."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("plots need matplotlib: pip install 'murmur-edge[bench]'") from None
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    least = min((p.payload for p in points if p.payload > 0), default=1.0)
    for i, point in enumerate(sorted(points, key=lambda p: (p.payload, p.accuracy))):
        x = point.payload or least / 3
        errors = [[point.accuracy - point.low], [point.high - point.accuracy]]
        marker = "osD^v<>pPX*h"[i % 12] if point.payload else "|"
        axes.errorbar(x, point.accuracy, yerr=errors, fmt=marker, color=f"C{i % 10}", capsize=2, label=point.label)
    axes.set_xscale("log")
    axes.set_xlabel("payload bytes a device (| at the left: none)")
    axes.set_ylabel("accuracy on all classes, mean of devices (range over seeds)")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    try:
        figure.savefig(path)
    except (OSError, ValueError) as reason:
        raise ConfigError(f"cannot draw {path}: {reason}") from None
