"""What a model is for, and its logits in the form that its task takes: (N, K), or (N, K, ...) with positions.

(N,)              -> (N, 1)         one number, or one label
(N, K, 1), (N, K, 1, 1) -> (N, K)   what a pooling left
(N, T, K)         -> (N, K, T)      a class for each of T positions of a sequence
(N, K, H, W)      as it is          a class for each pixel
(N, ...)          -> (N, D)         the D numbers of a regression, such as the pixels of an image
"""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from onnx import helper

from edge.protocols import PROTOCOLS
from edge.task import CLASSIFICATION, PER_POSITION, REGRESSION, Task, task
from export.errors import ExportError
from export.model import Model
from export.objectives import parse, task_of
from export.training.placement import sample_shape


def meant(model: Model, objective: str, name: str | None = None, classes: int | None = None) -> tuple[Model, str]:
    """Decide what a model is trained for, and bring its logits to the form for that.

    Args:
        model: as it was read or built.
        objective: the terms; or the name of a protocol, for those that it needs of a model for the task.
        name: of the task, if somebody said it.
        classes: K, if somebody said it: of (N, T, K), it tells which axis is which.

    Returns:
        The model, which knows its task, and the terms. What was changed is among its notes.

    Raises:
        ExportError: a protocol or an objective that is not for the task, or logits that fit no task.
        ConfigError: there is no such task.
    """
    terms = None if objective in PROTOCOLS.names() else parse(objective)
    named_task = named(objective, name, model.task)
    model, chosen = _shaped(model, named_task, classes)
    if terms is None:
        spec = PROTOCOLS.load(objective)
        if chosen.name not in spec.tasks:
            raise ExportError(f"{objective} runs on {' or '.join(spec.tasks)}, and this model is for {chosen.name}")
        objective = " + ".join(chosen.objective(spec.objective(spec.settings())))
    return model, objective


def named(objective: str, name: str | None, recognised: str | None = None) -> Task | None:
    """Return the task that somebody named, by its name or by a term that learns from labels; None if nobody did.

    Raises:
        ExportError: name and term disagree, or there is no such term.
        ConfigError: there is no such task.
    """
    by_name = None if name is None else task(name)
    terms = [] if objective in PROTOCOLS.names() else parse(objective)
    if not any(t.spec.supervises for t in terms):
        return by_name
    learnt = task_of(terms, name or recognised)
    if by_name not in (None, learnt):
        raise ExportError(f"--task {name}: the objective '{objective}' learns from labels of {learnt.name}")
    return learnt


def _shaped(model: Model, named: Task | None, classes: int | None) -> tuple[Model, Task]:
    """The model with its logits in the form of its task, and the task."""
    shape = sample_shape(model, model.output)
    known = named or (task(model.task) if model.task else None)
    numbers, pooled = known is REGRESSION, set(shape[1:]) == {1} and not (known and known.positions)
    if not shape or (len(shape) > 1 and (numbers or pooled)):
        size = prod(shape)
        model = _appended(model, "Reshape", f"its logits (N{_sizes(shape)}) became (N, {size})", (-1, size))
        shape = (size,)
    if known is None:
        known = PER_POSITION if len(shape) > 1 else REGRESSION if shape == (1,) else CLASSIFICATION
        if known is not CLASSIFICATION:
            model = _noted(
                model, f"its output is (N{_sizes(shape)}): --task {known.name}, unless --task says otherwise"
            )
    elif len(shape) > 1 and known is CLASSIFICATION and named is None:
        known = PER_POSITION
        model = _noted(model, f"its output is (N{_sizes(shape)}), so there is a class for each position")
    if known.positions and len(shape) == 2 and (classes is None or shape[1] == classes):
        note = f"its logits (N, {shape[0]}, {shape[1]}) became (N, {shape[1]}, {shape[0]}): {shape[1]} classes"
        model = _appended(model, "Transpose", f"{note} at {shape[0]} positions", perm=[0, 2, 1])
    return replace(model, task=known.name), known


def _appended(model: Model, op_type: str, note: str, shape: tuple[int, ...] | None = None, **attributes: Any) -> Model:
    """The model with one more node behind its logits. shape: a constant that the node reads."""
    result = f"{model.output}/{op_type.lower()}"
    constants = {} if shape is None else {f"{result}/shape": np.array(shape, np.int64)}
    node = helper.make_node(op_type, [model.output, *constants], [result], name=result, **attributes)
    changed = replace(model, nodes=(*model.nodes, node), output=result, constants={**model.constants, **constants})
    return _noted(changed, note)


def _noted(model: Model, note: str) -> Model:
    return replace(model, notes=(*model.notes, note))


def _sizes(shape: tuple[int, ...]) -> str:
    return "".join(f", {size}" for size in shape)
