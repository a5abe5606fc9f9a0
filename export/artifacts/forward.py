"""Read the model that the artifacts are made of, and tell its parameters from its constants."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, version_converter
from onnx.inliner import inline_local_functions

from export.errors import ExportError
from export.graph.builder import Array
from export.graph.node import constant_value, uses_batch_statistics
from export.model import OLDEST, Model
from export.transforms.expand import CONTROL, expand, opset_of


@dataclass(frozen=True)
class Forward:
    """A model as it was given, with all its names.

    Attributes:
        model: its nodes, parameters and constants; every name is the file's own.
        inputs: what the caller gives, with types.
        outputs: their names, in order.
    """

    model: Model
    inputs: tuple[onnx.ValueInfoProto, ...]
    outputs: tuple[str, ...]

    @property
    def names(self) -> set[str]:
        """All names that the model uses."""
        model = self.model
        values = {y for node in model.nodes for y in node.output if y}
        return values | {i.name for i in self.inputs} | model.parameters.keys() | model.constants.keys()


def read(model: onnx.ModelProto | str | os.PathLike[str], trained: Collection[str], frozen: Collection[str]) -> Forward:
    """Bring a model to operators that can be differentiated.

    Args:
        model: the model, or its file.
        trained: initializers that are trained.
        frozen: initializers that are parameters, but are not trained.

    Returns:
        The model; running means and variances that its training moves are frozen parameters, too.

    Raises:
        ExportError: it is not valid or has operators that cannot be trained, or the names are not its initializers'.
    """
    proto = _standard(_loaded(model))
    values = {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer}
    _check_names(values, trained, frozen)
    literals = {n.output[0]: constant_value(n) for n in proto.graph.node if n.op_type == "Constant"}
    nodes = tuple(node for node in proto.graph.node if node.op_type != "Constant")
    inputs = tuple(i for i in proto.graph.input if i.name not in values)
    outputs = tuple(o.name for o in proto.graph.output)
    chosen = {*trained, *frozen, *_statistics(nodes)}
    forward = Model(
        name=proto.graph.name,
        opset=opset_of(proto),
        nodes=nodes,
        input=inputs[0].name if inputs else "",
        shape=(),
        output=outputs[0],
        parameters={k: v for k, v in values.items() if k in chosen},
        constants={k: v for k, v in values.items() if k not in chosen} | literals,
        trainable=frozenset(trained),
    )
    return Forward(forward, inputs, outputs)


def _loaded(model: onnx.ModelProto | str | os.PathLike[str]) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy
    if not isinstance(model, str | os.PathLike):
        raise ExportError(f"model: expected an onnx.ModelProto or the path of a file, got {type(model)}")
    if not Path(model).is_file():
        raise ExportError(f"no ONNX file at {model}")
    try:
        return onnx.load(model)
    except Exception as reason:  # protobuf's DecodeError, missing external data, ... have no common base
        raise ExportError(f"{model} is not a readable ONNX file: {str(reason).splitlines()[0]}") from None


def _standard(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model in the operator set that gradients are written for, without functions and what has no rule."""
    try:
        onnx.checker.check_model(proto)
        if opset_of(proto) < OLDEST:
            proto = version_converter.convert_version(proto, OLDEST)
            proto.ir_version = max(proto.ir_version, 4)  # before it, every initializer had to be an input
    except Exception as reason:  # the converter's own errors have no public base class
        raise ExportError(f"the model is not valid, or not convertible: {str(reason).splitlines()[0]}") from None
    proto = expand(inline_local_functions(proto) if proto.functions else proto)
    for node in proto.graph.node:
        if node.op_type in CONTROL or node.domain not in ("", "ai.onnx"):
            raise ExportError(
                f"node '{node.name or node.output[0]}' ({node.domain or 'ai.onnx'} {node.op_type}) cannot be trained: "
                "only standard ONNX operators without control flow can"
            )
    return proto


def _check_names(values: dict[str, Array], trained: Collection[str], frozen: Collection[str]) -> None:
    listed = ", ".join(name for name, value in values.items() if value.dtype == np.float32) or "none"
    if both := sorted(set(trained) & set(frozen)):
        raise ExportError(f"a parameter cannot be frozen and require a gradient at the same time: {', '.join(both)}")
    if missing := [name for name in (*trained, *frozen) if name not in values]:
        raise ExportError(f"the model has no initializer {missing[0]}; its float32 initializers are {listed}")
    if not trained:
        raise ExportError(f"requires_grad names nothing to train; the model's float32 initializers are {listed}")
    if other := [name for name in trained if values[name].dtype != np.float32]:
        raise ExportError(f"{other[0]} is {values[other[0]].dtype}: only float32 parameters are trained")


def _statistics(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """Running means and variances of normalizations by the batch."""
    normalizations = (n for n in nodes if n.op_type == "BatchNormalization" and uses_batch_statistics(n))
    return {name for node in normalizations for name in node.input[3:5]}
