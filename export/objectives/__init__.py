"""Losses, one a file, and the little language that composes them.

    cross_entropy + 1.0*squared_error(reference) + 0.5*soft_cross_entropy(reference,1)

Each term is a number (its default weight, a run-time input of the training graph) times the name of a file in this
folder, with numbers of its own in brackets where it takes some ("huber[0.5]"), on the `private` or the `reference`
batch and one head of the model (0, the main one, by default). A file has `SPEC = ObjectiveSpec(build=...)`;
`build(op, rows)` appends the forward loss and returns it, a scalar. Its gradient follows by differentiation.

A term that learns from labels says for which tasks (`edge.task`) it does; it decides what the bundle's task is.

>>> [(term.key, term.weight) for term in parse("cross_entropy + 0.5*soft_cross_entropy(reference,1)")]
[('cross_entropy', 1.0), ('soft_cross_entropy(reference,1)', 0.5)]
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edge.bundle import head_name
from edge.plugins import Family
from edge.task import CLASSIFICATION, TASKS, Task
from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value

BATCHES = ("private", "reference")
MANY = 100_000
"""more numbers than anybody writes in brackets"""


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
    task: Task = CLASSIFICATION
    """of the model"""
    numbers: tuple[float, ...] = ()
    """what the term was given in brackets"""
    positions: tuple[int, ...] = ()
    """the logits' axes after the classes"""

    def outputs(self, op: GraphBuilder) -> Value:
        """Append what turns the logits into outputs, of the logits' shape: see `link`."""
        return link(op, self.task, self.logits)

    def target(self, name: str = "target") -> Value:
        """Declare the target of this head, (n, K, ...) float32 like the logits; every head has one of its own.

        Args:
            name: of the input; the batch and the head are added to it.

        Returns:
            The input.
        """
        return self.argument(head_name(name, self.head), np.float32, "n", self.classes, *self.positions)


@dataclass(frozen=True, kw_only=True)
class ObjectiveSpec:
    """A loss.

    Attributes:
        build: (op, rows) -> the scalar loss, whose forward graph it appends.
        supervises: names of the tasks whose labels it learns from; none for a loss with another target.
        numbers: how many numbers it takes in brackets, at least and at most.
        lowest: none of the numbers may be smaller.
        highest: none may be larger.
    """

    build: Callable[[GraphBuilder, Rows], Value]
    supervises: tuple[str, ...] = ()
    numbers: tuple[int, int] = (0, 0)
    lowest: float = 0.0
    highest: float = 1e9


OBJECTIVES = Family("export.objectives", ObjectiveSpec, "objective term")


def link(op: GraphBuilder, task: Task, logits: Value) -> Value:
    """Append what turns logits into outputs.

    Args:
        op: the graph.
        task: of the model.
        logits: (n, K, ...).

    Returns:
        Outputs of the same shape: a softmax over K, a sigmoid, or the logits themselves.
    """
    if task.link == "identity":
        return logits
    return op("Sigmoid", logits) if task.link == "sigmoid" else op("Softmax", logits, axis=1)


@dataclass(frozen=True)
class Term:
    """One summand of the objective."""

    name: str
    batch: str
    weight: float
    head: int = 0
    numbers: tuple[float, ...] = ()

    @property
    def spec(self) -> ObjectiveSpec:
        """What its file says."""
        return OBJECTIVES.load(self.name)

    @property
    def key(self) -> str:
        """The term's name in the manifest, the metrics and the weight input, e.g. "squared_error(reference)"."""
        if self.head:
            return f"{self.name}({self.batch},{self.head})"
        return self.name if self.batch == "private" else f"{self.name}({self.batch})"

    def build(self, op: GraphBuilder, rows: Rows) -> Value:
        """Append the term's forward graph and return the scalar loss."""
        return self.spec.build(op, rows)


_TERM = re.compile(
    r"(?:(?P<weight>[0-9.]+(?:e[+-]?[0-9]+)?)\s*\*\s*)?(?P<name>[a-z_]+)"
    r"(?:\[(?P<numbers>[^\]]*)\])?"
    r"(?:\((?P<batch>[a-z]+)(?:\s*,\s*(?P<head>[0-9]+))?\))?"
)


def parse(objective: str) -> list[Term]:
    """Read an objective.

    Args:
        objective: terms joined by "+".

    Returns:
        The terms, in their order.

    Raises:
        ExportError: an unknown term, the same term twice, none on the private batch, or numbers that it does not take.
    """
    known = [n.replace("-", "_") for n in OBJECTIVES.names()]
    terms = []
    for text in re.split(r"(?<![0-9.]e)\+", objective):  # the plus of 1e+3 is not one between terms
        match = _TERM.fullmatch(text.strip())
        if match is None or match["name"] not in known or (match["batch"] or "private") not in BATCHES:
            raise ExportError(
                f"objective term '{text.strip()}' is not [WEIGHT*]NAME['['NUMBERS']'][(private|reference[,HEAD])] "
                f"with NAME one of: {', '.join(known)}"
            )
        batch, head = match["batch"] or "private", int(match["head"] or 0)
        terms.append(Term(match["name"], batch, float(match["weight"] or 1), head, _numbers(match)))
    if len({t.key for t in terms}) < len(terms):
        raise ExportError(f"objective '{objective}' names a term twice")
    if all(t.batch != "private" for t in terms):
        raise ExportError(f"objective '{objective}' needs a term on the private batch")
    return terms


def supervision(terms: Sequence[Term]) -> Term | None:
    """Find the term of the main head that learns from labels; None if there is none."""
    return next((t for t in terms if t.batch == "private" and not t.head and t.spec.supervises), None)


def task_of(terms: Sequence[Term], recognised: str | None) -> Task:
    """Decide what a model is trained for.

    Args:
        terms: of its objective.
        recognised: the name of the task that somebody named, or that its graph shows; None if neither.

    Returns:
        That task or, where its labels are not what the objective learns from, the first one that the objective is for.

    Raises:
        ExportError: two terms learn from labels of different tasks.
    """
    spoken = [t for t in terms if t.spec.supervises]
    common = [name for name in TASKS if all(name in t.spec.supervises for t in spoken)]
    if not common:
        raise ExportError(f"objective: {' and '.join(t.key for t in spoken)} learn from labels of different kinds")
    if recognised in common:
        return TASKS[recognised]
    return TASKS[common[0]] if spoken else CLASSIFICATION


def _numbers(match: re.Match[str]) -> tuple[float, ...]:
    """What a term has in brackets. Raises ExportError."""
    spec = OBJECTIVES.load(match["name"])
    least, most = spec.numbers
    try:
        numbers = tuple(float(n) for n in match["numbers"].split(",")) if match["numbers"] else ()
    except ValueError:
        numbers = (float("nan"),)
    if not least <= len(numbers) <= most or not all(spec.lowest <= n <= spec.highest for n in numbers):
        count = f"{least}" if least == most else f"{least} to {most}" if most < MANY else f"{least} or more"
        raise ExportError(
            f"objective term '{match[0].strip()}': {match['name']} takes {count} numbers in brackets"
            + (f", each from {spec.lowest:g} to {spec.highest:g}" if most else "")
        )
    return numbers


__all__ = ["MANY", "OBJECTIVES", "ObjectiveSpec", "Rows", "Term", "link", "parse", "supervision", "task_of"]
