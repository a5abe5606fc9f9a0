"""Losses, one a file, and the little language that composes them.

    cross_entropy + 1.0*squared_error(reference) + 0.5*soft_cross_entropy(reference,1)

Each term is a number (its default weight, a run-time input of the training graph) times the name
of a file in this folder, on the `private` or the `reference` batch and one head of the model (0, the
main one, unless told). A file has `build(op, rows)`, which appends the forward loss and returns it,
a scalar; its gradient is the walk's work.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge.bundle import head_name
from edge.plugins import load, names
from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value

BATCHES = ("private", "reference")


@dataclass(frozen=True)
class Rows:
    """What a term may read: one head's view of one batch, and inputs it asks for by name.

    logits: (n, K). embedding: (n, ...), where the model names one.
    argument(name, dtype, *dimensions): declares (once) a run-time input of the batch, "n" standing for its rows.
    scalar(name, default): declares a run-time scalar of the term, e.g. a temperature.
    """

    logits: Value
    classes: int
    head: int
    embedding: Value | None
    argument: Callable[..., Value]
    scalar: Callable[[str, float], Value]

    def target(self, name: str = "target") -> Value:
        """What this head is pulled towards, (n, K) float32; every head has one of its own."""
        return self.argument(head_name(name, self.head), np.float32, "n", self.classes)


@dataclass(frozen=True)
class Term:
    """One summand of the objective."""

    name: str
    batch: str
    weight: float
    head: int = 0

    @property
    def key(self) -> str:
        """How the manifest, the metrics and the weight input call it, e.g. "squared_error(reference)"."""
        if self.head:
            return f"{self.name}({self.batch},{self.head})"
        return self.name if self.batch == "private" else f"{self.name}({self.batch})"

    def build(self, op: GraphBuilder, rows: Rows) -> Value:
        """Append the term's forward graph; returns the scalar loss."""
        loss: Value = load("export.objectives", self.name).build(op, rows)
        return loss


_TERM = re.compile(
    r"(?:(?P<weight>[0-9.]+(?:e[+-]?[0-9]+)?)\s*\*\s*)?(?P<name>[a-z_]+)"
    r"(?:\((?P<batch>[a-z]+)(?:\s*,\s*(?P<head>[0-9]+))?\))?"
)


def parse(objective: str) -> list[Term]:
    """Read an objective. Raises ExportError that names the bad term and lists what there is."""
    known = [n.replace("-", "_") for n in names("export.objectives")]
    terms = []
    for text in re.split(r"(?<![0-9.]e)\+", objective):  # the plus of 1e+3 is not one between terms
        found = _TERM.fullmatch(text.strip())
        if found is None or found["name"] not in known or (found["batch"] or "private") not in BATCHES:
            raise ExportError(
                f"objective term '{text.strip()}' is not [WEIGHT*]NAME[(private|reference[,HEAD])] with NAME "
                f"one of: {', '.join(known)}"
            )
        batch, head = found["batch"] or "private", int(found["head"] or 0)
        terms.append(Term(found["name"], batch, float(found["weight"] or 1), head))
    if len({t.key for t in terms}) < len(terms):
        raise ExportError(f"objective '{objective}' names a term twice")
    if all(t.batch != "private" for t in terms):
        raise ExportError(f"objective '{objective}' needs a term on the private batch")
    return terms


__all__ = ["Rows", "Term", "parse"]
