"""Batch normalization: over the batch's own statistics while training, or over fixed ones.

train     every step normalizes by its batch and moves the running mean and variance, which predict uses
frozen    the running statistics stay as they are: right for small batches, and for models only fine-tuned
as-is     whichever the model's own nodes say (`training_mode`)
"""

from dataclasses import replace

import onnx
from onnx import helper

from export.errors import ExportError
from export.graph.node import uses_batch_statistics
from export.model import Model

MODES = ("as-is", "train", "frozen")


def select(model: Model, mode: str) -> Model:
    """Choose what normalizations use.

    A normalization of which neither scale nor bias is trained keeps its statistics whatever the mode: nothing there
    would follow them.

    Args:
        model: the model.
        mode: one of `MODES`.

    Returns:
        The model with running statistics among the parameters where they move, and among the constants where not.

    Raises:
        ExportError: no such mode.
    """
    if mode not in MODES:
        raise ExportError(f"--batch-norm {mode}: expected one of {', '.join(MODES)}")
    if mode == "train" and not any(node.op_type == "BatchNormalization" for node in model.nodes):
        raise ExportError(
            f"--batch-norm train: '{model.name}' has no batch normalization; if it had, its exporter folded it into "
            "the layer before: export it in training mode (PyTorch: dynamo=False, training=TrainingMode.TRAINING), or "
            "leave the flag out"
        )
    nodes = [_set(model, node, mode) if node.op_type == "BatchNormalization" else node for node in model.nodes]
    moving = {s for n in nodes if _moves(n) for s in n.input[3:5]}
    values = {**model.parameters, **model.constants}
    parameters = (model.parameters.keys() - model.statistics) | moving
    return replace(
        model,
        nodes=tuple(nodes),
        parameters={k: v for k, v in values.items() if k in parameters},
        constants={k: v for k, v in values.items() if k not in parameters},
        statistics=frozenset(moving),
    )


def _moves(node: onnx.NodeProto) -> bool:
    return node.op_type == "BatchNormalization" and uses_batch_statistics(node)


def _set(model: Model, node: onnx.NodeProto, mode: str) -> onnx.NodeProto:
    train = uses_batch_statistics(node) if mode == "as-is" else mode == "train"
    train = train and any(p in model.parameters and model.trains(p) for p in node.input[1:3])
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    del changed.attribute[:], changed.output[1:]
    changed.attribute.extend(a for a in node.attribute if a.name != "training_mode")
    if train:
        changed.attribute.append(helper.make_attribute("training_mode", 1))
    return changed
