"""What a row of telemetry is called for Prometheus, and its text format: the same names on a device and in the monitor.

>>> print(exposition([MetricFamily("murmur_round", "last finished round", {(("device", "a"),): 3.0})]), end="")
# HELP murmur_round last finished round
# TYPE murmur_round gauge
murmur_round{device="a"} 3.0
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge.messaging.inbox import CAUSES
from edge.task import ON_TEST

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NUMBERS = {
    "round": "last finished round",
    "loss": "training loss of the last round",
    "accuracy": "accuracy on the batches of the last round",
    **{key: f"{title} on the test samples" for key, title in ON_TEST.items()},
    "consensus_distance": "mean distance of the soft labels from the neighbours' mean",
    "seconds": "seconds of the last round",
    "wait_seconds": "seconds of the last round that were spent waiting",
    "timeouts": "neighbours that timed out in the last round",
    "payload_bytes_sent": "bytes of payloads sent since the start",
    "checkpoints_failed": "checkpoints that could not be written",
    "skipped_steps": "steps whose update was not finite",
    "rejected_invalid": "messages of the last round with impossible values",
    "rejected_by_aggregator": "messages of the last round that the aggregation rule left out",
    **{f"refused_{cause}": f"messages refused since the start: {cause.replace('_', ' ')}" for cause in CAUSES},
    "idle": "1 if it had nothing new to learn from",
    "run": "number of the run that it takes part in",
    "skipped": "rounds skipped since its process started, as its neighbours were further",
    "offline": "neighbours that the broker says are offline",
    "dropped": "messages dropped because too many bytes waited for the broker",
    "taken_over": "connections ended because another client has this device's name",
    "averaged": "models averaged in the last round",
    "distance": "distance of the model from the last average",
    "violated": "1 if the model was too far from the last average",
    "return": "mean return of the episodes of the last round",
    "seeds": "seed samples in use",
    "temperature": "degrees Celsius of the hottest sensor",
    "undervoltage": "1 once the supply has been too weak",
    "clock_unset": "1 until a time server has answered",
    "disk_free_mb": "free megabytes on the node's file system",
    "memory_mb": "resident megabytes of the node",
}
"""key of a row -> what it is"""
TERMS = {
    f"loss/{term}": f"{term} term of the training loss"
    for term in (
        *("cross_entropy", "embedding_distance", "kullback_leibler", "soft_cross_entropy", "squared_error"),
        *("cross_entropy(reference)", "kullback_leibler(reference)", "soft_cross_entropy(reference)"),
        "squared_error(reference)",
    )
}
"""key of a row -> what it is; terms of other objectives are on the dashboard only"""
MEGABYTES = "_mb"
"""The end of a key; Prometheus wants base units, so these are shown in bytes."""


def _metric(key: str, text: str) -> tuple[str, str, float]:
    words = key.replace("r2", "r_squared").replace("/", "_").replace("(", "_").replace(")", "")
    if key.endswith(MEGABYTES):
        return f"murmur_{words.removesuffix(MEGABYTES)}_bytes", text.replace("megabytes", "bytes"), 1e6
    return f"murmur_{words}", text, 1.0


GAUGES = {key: _metric(key, text) for key, text in (NUMBERS | TERMS).items()}
"""key of a row -> name, help, and by what its value is multiplied"""
Labels = tuple[tuple[str, str], ...]
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True)
class MetricFamily:
    """A metric: its name, what it is, and its values by labels. kind: gauge or counter."""

    name: str
    help: str
    values: Mapping[Labels, float]
    kind: str = "gauge"


def families(row: Mapping[str, float], labels: Labels) -> list[MetricFamily]:
    """Return the last row of a device as gauges."""
    return [
        MetricFamily(name, text, {labels: row[key] * unit}) for key, (name, text, unit) in GAUGES.items() if key in row
    ]


def exposition(metrics: Iterable[MetricFamily]) -> str:
    """Return metrics in Prometheus' text format, version 0.0.4."""
    lines = []
    for family in metrics:
        lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} {family.kind}"]
        for labels, value in family.values.items():
            inside = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels)
            lines.append(f"{family.name}{{{inside}}} {value!r}" if inside else f"{family.name} {value!r}")
    return "\n".join(lines) + "\n"
