"""The training artifacts of ONNX Runtime's on-device training, as graphs of standard operators.

The names are those of `onnxruntime.training.artifacts`; any ONNX Runtime trains the files, by `edge.ort_training`.

>>> import numpy as np, onnx
>>> from onnx import TensorProto, helper, numpy_helper
>>> x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", n]) for name, n in (("x", 4), ("y", 3)))
>>> weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "weight")
>>> graph = helper.make_graph([helper.make_node("MatMul", ["x", "weight"], ["y"])], "linear", [x], [y], [weight])
>>> model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
>>> generate_artifacts(model, requires_grad=["weight"], loss=LossType.CrossEntropyLoss, optimizer=OptimType.SGD)
>>> training = onnx.load("training_model.onnx").graph
>>> [i.name for i in training.input], [o.name for o in training.output]
(['x', 'labels', 'weight'], ['loss', 'weight_grad'])
"""

import os
from collections.abc import Sequence
from pathlib import Path

import onnx

from edge.ort_training import names, state
from edge.storage import atomic
from export.artifacts.forward import read
from export.artifacts.graphs import Loss, evaluation, training
from export.artifacts.losses import LossType
from export.artifacts.optimizers import OptimType, optimizer_model
from export.errors import ExportError


def generate_artifacts(
    model: onnx.ModelProto | str | os.PathLike[str],
    requires_grad: Sequence[str] | None = None,
    frozen_params: Sequence[str] | None = None,
    loss: LossType | None = None,
    optimizer: OptimType | None = None,
    artifact_directory: str | os.PathLike[str] | None = None,
    prefix: str = "",
    ort_format: bool = False,
    custom_op_library: str | os.PathLike[str] | None = None,
    additional_output_names: Sequence[str] | None = None,
    nominal_checkpoint: bool = False,
    loss_input_names: Sequence[str] | None = None,
) -> None:
    """Write the files that `edge.ort_training` trains a model with: all of them, or none.

    PREFIXtraining_model.onnx, PREFIXeval_model.onnx, PREFIXcheckpoint, PREFIXoptimizer_model.onnx where an optimizer
    is named, and PREFIXnominal_checkpoint where it is asked for.

    Args:
        model: the model, or its file.
        requires_grad: names of the initializers that are trained, all float32.
        frozen_params: names of initializers that are parameters, too, and stay.
        loss: is appended to the model; None if the model's first output is the loss.
        optimizer: None for no optimizer model.
        artifact_directory: an existing folder; None for the current one.
        prefix: before the name of each file.
        ort_format: is refused: ONNX Runtime loads the ONNX files.
        custom_op_library: is refused: its operators have no gradient here.
        additional_output_names: values of the model that a step gives beside the loss.
        nominal_checkpoint: also write a checkpoint without values.
        loss_input_names: the values that the loss is of, and its target; None for all outputs of the model.

    Raises:
        RuntimeError: the model cannot be trained, or an argument does not fit it.
        LookupError: the model has no value of a name in additional_output_names or loss_input_names.
        TypeError: an unknown optimizer.
        FileNotFoundError: no such folder.
    """
    _refuse(loss, optimizer, ort_format, custom_op_library)
    folder = Path.cwd() if artifact_directory is None else Path(artifact_directory)
    if not folder.is_dir():
        raise FileNotFoundError(f"artifact_directory {folder} does not exist; create it first")
    try:
        forward = read(model, requires_grad or (), frozen_params or ())
        what = Loss(loss, loss_input_names or forward.outputs, tuple(additional_output_names or ()))
        files = {names.TRAINING_MODEL: training(forward, what), names.EVAL_MODEL: evaluation(forward, what)}
        if optimizer is not None:
            files[names.OPTIMIZER_MODEL] = optimizer_model(optimizer)
    except ExportError as reason:
        raise RuntimeError(str(reason)) from None
    start = state.state_of(forward.model.parameters, forward.model.trainable or ())
    for name, proto in files.items():
        atomic.write_bytes(folder / f"{prefix}{name}", proto.SerializeToString())
    state.write(start, folder / f"{prefix}{names.CHECKPOINT}")
    if nominal_checkpoint:
        state.write(start, folder / f"{prefix}{names.NOMINAL_CHECKPOINT}", nominal=True)


def _refuse(loss: object, optimizer: object, ort_format: bool, custom_op_library: object) -> None:
    if loss is not None and not isinstance(loss, LossType):
        raise RuntimeError(
            f"Unknown loss provided {type(loss)}: expected one of LossType. A loss of your own can be part of the "
            "model: append it there and give loss=None"
        )
    if optimizer is not None and not isinstance(optimizer, OptimType):
        raise TypeError(f"Unknown optimizer provided {type(optimizer)}: expected one of OptimType")
    if ort_format:
        raise RuntimeError("ort_format: the artifacts are ONNX files, which ONNX Runtime loads; leave it out")
    if custom_op_library is not None:
        raise RuntimeError("custom_op_library: only standard ONNX operators can be trained; leave it out")


__all__ = ["LossType", "OptimType", "generate_artifacts"]
