"""ONNX Runtime's own on-device-training artifacts, for C, C++, Java, C# and Swift hosts.

The model and its objective are ours, with the parameters as initializers; the gradient is that of
`onnxruntime.training.artifacts`. This needs the package `onnxruntime-training-cpu`, which takes the import name of
`onnxruntime`, so it lives in an environment of its own (extra `ort-training`).

    ort_training/training_model.onnx   batch -> loss, its terms, correct count; gradients accumulated
    ort_training/eval_model.onnx       batch -> the same
    ort_training/optimizer_model.onnx  one update (AdamW or SGD)
    ort_training/checkpoint            parameters
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge import bundle
from edge.errors import EngineError
from edge.training_package import open_package
from export.errors import ExportError
from export.graph.builder import GraphBuilder
from export.graph.node import attributes, with_names
from export.graph.prune import prune
from export.model import Model
from export.optimizers import adamw
from export.training.losses import metrics, place_losses
from export.training.placement import sample_shape
from export.training.proto import IR_VERSION
from export.training.update import Update

OPTIMIZERS = ("sgd", "adamw")


def build(model: Model, objective: str, update: str | Update) -> dict[str, bytes]:
    """Make the four files.

    Weights of terms and temperatures are fixed at their defaults, since the official step takes batches only.

    Args:
        model: what is trained.
        objective: the terms, as in "cross_entropy + 1.0*squared_error(reference)".
        update: "sgd" or "adamw".

    Returns:
        The files, by their names in the bundle.

    Raises:
        ExportError: the package is not installed, or cannot differentiate the model.
    """
    optimizer = update if isinstance(update, str) else update.optimizer
    if optimizer not in OPTIMIZERS:
        raise ExportError(f"--ort-training knows the optimizers {', '.join(OPTIMIZERS)}, not {optimizer}")
    if model.statistics:
        raise ExportError("--ort-training: normalizations by the batch are not supported; add --batch-norm frozen")
    artifacts = _artifacts()
    proto = loss_model(model, objective)
    with tempfile.TemporaryDirectory() as folder:
        try:
            artifacts.generate_artifacts(
                proto,
                requires_grad=[name for name in model.parameters if model.trains(name)],
                frozen_params=[name for name in model.parameters if not model.trains(name)],
                optimizer=_optimizer(optimizer),
                additional_output_names=[o.name for o in proto.graph.output[1:]],
                artifact_directory=folder,
            )
        except Exception as reason:  # whatever its C++ side raises
            brief = str(reason).splitlines()[0].rpartition("was false. ")[2] if str(reason) else type(reason).__name__
            raise ExportError(
                f"--ort-training: onnxruntime-training cannot differentiate this model: {brief}"
            ) from None
        return {f"{bundle.ORT_TRAINING}/{file.name}": file.read_bytes() for file in sorted(Path(folder).iterdir())}


def loss_model(model: Model, objective: str) -> onnx.ModelProto:
    """Batch -> loss, its terms and the correct count, with the parameters as initializers under their own names."""
    op = GraphBuilder(model.opset)
    model = affine(model)
    losses = place_losses(op, model, objective)
    results = metrics(op, losses)
    results = {bundle.TOTAL: results.pop(bundle.TOTAL), **results}  # the official gradient is of the first result
    for name, value in results.items():  # one term of weight 1 may be the sum itself
        results[name] = op("Identity", value)
        op.forget()
    public = {bundle.PARAMETER + k: k for k in model.parameters} | {value: name for name, value in results.items()}
    nodes = [with_names(node, public) for node in prune(op.nodes, results.values())]
    constants = dict(op.constants) | {k: np.float32(v) for k, v in losses.scalars.items()}
    read = {x for node in nodes for x in node.input}
    graph = helper.make_graph(
        nodes,
        "loss",
        [helper.make_value_info(i, op.types[i]) for i in (*losses.inputs, *losses.placement.noise) if i in read],
        [helper.make_value_info(name, op.types[value]) for name, value in results.items()],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in {**model.parameters, **constants}.items() if k in read],
    )
    imports = [helper.make_opsetid("", op.opset)]
    return helper.make_model(graph, producer_name="murmur", opset_imports=imports, ir_version=IR_VERSION)


def affine(model: Model) -> Model:
    """Write frozen normalizations as X a + b, with a and b one number a channel.

    The official gradient of BatchNormalization is that of training mode whatever the node says (1.19.2: a difference of
    0.07 in ds-cnn's loss after 50 steps).
    """
    nodes: list[onnx.NodeProto] = []
    constants = dict(model.constants)
    for node in model.nodes:
        if node.op_type != "BatchNormalization":
            nodes.append(node)
            continue
        X, scale, bias, mean, variance = node.input
        Y, rank = node.output[0], len(sample_shape(model, X)) + 1
        deviation = np.sqrt(constants[variance] + np.float32(attributes(node).get("epsilon", 1e-5)))
        constants |= {f"{Y}/deviation": deviation, f"{Y}/axes": np.arange(1, rank - 1)}

        def append(op_type: str, inputs: list[str], result: str) -> str:
            nodes.append(helper.make_node(op_type, inputs, [result], name=result))
            return result

        a = append("Div", [scale, f"{Y}/deviation"], f"{Y}/a")
        b = append("Sub", [bias, append("Mul", [mean, a], f"{Y}/shift")], f"{Y}/b")
        if rank > 2:
            a, b = (append("Unsqueeze", [v, f"{Y}/axes"], f"{v}/wide") for v in (a, b))
        append("Add", [append("Mul", [X, a], f"{Y}/scaled"), b], Y)
    return replace(model, nodes=tuple(nodes), constants=constants)


def _optimizer(name: str) -> Any:
    """The official block with our optimizer's own defaults; the rate is set while training."""
    from onnxruntime.training.onnxblock import optim

    if name == "sgd":
        return optim.SGD()
    hyper = adamw.HYPER
    betas = (hyper["beta1"], hyper["beta2"])
    return optim.AdamW(bias_correction=True, betas=betas, eps=hyper["epsilon"], weight_decay=hyper["weight_decay"])


def _artifacts() -> Any:
    try:
        open_package()
    except EngineError as reason:
        raise ExportError(f"--ort-training: {reason}") from None
    from onnxruntime.training import artifacts

    return artifacts
