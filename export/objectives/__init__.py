"""Losses, one a file, and the little language that composes them.

    cross_entropy + 1.0*squared_error(reference) + 0.5*soft_cross_entropy(reference,1)

Each term is a number (its default weight, a run-time input of the training graph) times the name of a file in this
folder, on the `private` or the `reference` batch and one head of the model (0, the main one, by default). A file has
`build(op, rows)`, which appends the forward loss and returns it, a scalar. Its gradient follows by differentiation.

>>> [(term.key, term.weight) for term in parse("cross_entropy + 0.5*soft_cross_entropy(reference,1)")]
[('cross_entropy', 1.0), ('soft_cross_entropy(reference,1)', 0.5)]
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
    """What a term may read: the outputs of one head for one batch, and inputs that it asks for by name."""

    logits: Value
    """(n, K)"""
    classes: int
    """K"""
    head: int
    """0 for the main head"""
    embedding: Value | None
    """(n, ...), where the model names one"""
    argument: Callable[..., Value]
    """argument(name, dtype, *dimensions) declares (once) a run-time input of the batch; "n" stands for its rows"""
    scalar: Callable[[str, float], Value]
    """scalar(name, default) declares a run-time scalar of the term, such as a temperature"""

    def target(self, name: str = "target") -> Value:
        """Declare the target of this head, (n, K) float32; every head has one of its own.

        Args:
            name: of the input; the batch and the head are added to it.

        Returns:
            The input.
        """
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
        """The term's name in the manifest, the metrics and the weight input, e.g. "squared_error(reference)"."""
        if self.head:
            return f"{self.name}({self.batch},{self.head})"
        return self.name if self.batch == "private" else f"{self.name}({self.batch})"

    def build(self, op: GraphBuilder, rows: Rows) -> Value:
        """Append the term's forward graph and return the scalar loss."""
        loss: Value = load("export.objectives", self.name).build(op, rows)
        return loss


_TERM = re.compile(
    r"(?:(?P<weight>[0-9.]+(?:e[+-]?[0-9]+)?)\s*\*\s*)?(?P<name>[a-z_]+)"
    r"(?:\((?P<batch>[a-z]+)(?:\s*,\s*(?P<head>[0-9]+))?\))?"
)


def parse(objective: str) -> list[Term]:
    """Read an objective.

    Args:
        objective: terms joined by "+".

    Returns:
        The terms, in their order.

    Raises:
        ExportError: an unknown term, the same term twice, or none on the private batch.
    """
    known = [n.replace("-", "_") for n in names("export.objectives")]
    terms = []
    for text in re.split(r"(?<![0-9.]e)\+", objective):  # the plus of 1e+3 is not one between terms
        match = _TERM.fullmatch(text.strip())
        if match is None or match["name"] not in known or (match["batch"] or "private") not in BATCHES:
            raise ExportError(
                f"objective term '{text.strip()}' is not [WEIGHT*]NAME[(private|reference[,HEAD])] with NAME "
                f"one of: {', '.join(known)}"
            )
        batch, head = match["batch"] or "private", int(match["head"] or 0)
        terms.append(Term(match["name"], batch, float(match["weight"] or 1), head))
    if len({t.key for t in terms}) < len(terms):
        raise ExportError(f"objective '{objective}' names a term twice")
    if all(t.batch != "private" for t in terms):
        raise ExportError(f"objective '{objective}' needs a term on the private batch")
    return terms


__all__ = ["Rows", "Term", "parse"]
