"""Make free the batch size that a model was exported with.

PyTorch's exporters write the number of samples of the example into every Reshape, and repeat a class token, a mask or
an initial state for that many samples, in an Expand or folded into a constant. The graph is followed twice, with the
exported number and with an unknown one; where the two disagree, the node is rewritten for any number.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
import onnx
from onnx import helper

from export.graph.builder import Array, GraphBuilder, Shape, Value
from export.graph.shape_folding import ShapeFolder
from export.model import Model


def free_batch(model: Model, batch: int) -> Model:
    """Rewrite a model for any number of samples.

    Args:
        model: a model whose nodes may hold the number of samples.
        batch: that number.

    Returns:
        The model, whose output has as many rows as its input wherever that could be achieved.

    Raises:
        ExportError: its nodes do not fit together for another number of samples.
    """
    return _Rewriter(model, batch).model()


BROADCASTING = {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Where", "PRelu", "MatMul"}
"""Operators that stretch an operand of one sample over all samples themselves."""


class _Followed:
    """A model's shapes, node by node, for one batch size; None is an unknown one."""

    def __init__(self, model: Model, batch: int | None) -> None:
        self.op = GraphBuilder(model.opset)
        for x in model.inputs:
            self.op.argument(x.name, np.dtype(x.dtype), [batch, *x.shape])
        for name, parameter in model.parameters.items():
            self.op.argument(name, parameter.dtype, parameter.shape)
        for name, constant in model.constants.items():
            self.op.name_constant(name, constant)
        self.folder = ShapeFolder(self.op)

    def append(self, node: onnx.NodeProto) -> None:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if not self.folder.fold(copy):
            self.folder.append(copy, self.op.append)

    def shape(self, value: Value) -> Shape | None:
        """The dimensions, or None if not even their number is known."""
        known = value in self.op.types and self.op.types[value].tensor_type.HasField("shape")
        return self.op.shape(value) if known else None


class _Rewriter:
    """Rewrites the nodes in order.

    Invariant: `_outer[value]` is how many blocks stand before the samples inside the free axis of `value`: its index
    is (block, sample, rest). It is 1 except after a Reshape that merged an axis in front of the batch with it.
    """

    def __init__(self, model: Model, batch: int) -> None:
        self._model, self._batch = model, batch
        self._fixed, self._free = _Followed(model, batch), _Followed(model, None)
        self._outer: dict[Value, int] = {x.name: 1 for x in model.inputs}
        self._constants: dict[Value, Array] = {}
        self._parameters = dict(model.parameters)
        self._tensors = {**model.constants, **model.parameters}
        self._nodes: list[onnx.NodeProto] = []

    def model(self) -> Model:
        for node in self._model.nodes:
            self._fixed.append(node)
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            self._rewrite(copy)
            self._append(copy)
            self._follow_outer(copy)
        constants = {**self._model.constants, **self._constants}
        return replace(self._model, nodes=tuple(self._nodes), parameters=self._parameters, constants=constants)

    def _rewrite(self, node: onnx.NodeProto) -> None:
        """Change a node that holds the number of samples."""
        if node.op_type == "Gather":
            self._gather_all(node)
        if node.op_type in ("Reshape", "Flatten"):
            self._reshape(node)
        elif node.op_type == "Expand":
            self._expand(node)
        elif node.op_type in BROADCASTING:
            self._narrow(node)
        elif node.op_type == "Squeeze" and len(node.input) < 2:
            self._squeeze(node)
        elif node.op_type == "Concat":
            self._widen(node, range(len(node.input)), self._concat_axis(node))
        elif node.op_type in ("LSTM", "GRU", "RNN") and self._free_axis(node.input[0]) == 1:
            self._widen(node, range(5, min(7, len(node.input))), None, like=node.input[0])
        elif node.op_type == "Resize" and len(node.input) > 3 and node.input[3]:
            self._resize(node)

    def _reshape(self, node: onnx.NodeProto) -> None:
        X, Y = node.input[0], node.output[0]
        axis, source, target = self._free_axis(X), self._fixed.shape(X), self._fixed.shape(Y)
        if axis is None or source is None or target is None or None in source or None in target or 0 in target:
            return
        sizes = [size for size in target if size is not None]
        before = prod(size or 1 for size in source[:axis]) * self._outer.get(X, 1)
        written = self._free.folder.sizes(node.input[1]) if node.op_type == "Reshape" else None
        if written is not None and written.count(None) == 1:
            at: int | None = written.index(None)
        else:
            at = _batch_axis(sizes, before, self._batch)
        if at is None or before % prod(sizes[:at]):
            return
        self._outer[Y] = before // prod(sizes[:at])
        target_sizes = [-1 if i == at else size for i, size in enumerate(sizes)]
        del node.attribute[:]
        node.op_type = "Reshape"
        node.input[:] = [X, self._constant(Y, target_sizes)]

    def _gather_all(self, node: onnx.NodeProto) -> None:
        """Reshape what a Gather reads in order from a flat value: PyTorch's as_strided of a contiguous tensor."""
        X, indices = node.input[0], self._model.constants.get(node.input[1])
        if indices is None or self._free.shape(X) != (None,) or self._fixed.shape(X) != (indices.size,):
            return
        if (indices.ravel() == np.arange(indices.size)).all():
            del node.attribute[:]
            node.op_type = "Reshape"
            node.input[:] = [X, self._constant(f"{node.output[0]}/read", indices.shape)]

    def _expand(self, node: onnx.NodeProto) -> None:
        """Stretch the other axes only, where the samples are there already; and one sample where they are not."""
        self._expand_one(node)
        X, sizes = node.input[0], self._fixed.folder.sizes(node.input[1])
        axis, shape = self._free_axis(X), self._fixed.shape(X)
        if sizes is None or axis is None or shape is None or axis + len(sizes) < len(shape):
            return
        sizes[axis + len(sizes) - len(shape)] = 1
        node.input[1] = self._constant(node.output[0], sizes)

    def _expand_one(self, node: onnx.NodeProto) -> None:
        """Stretch one sample of a constant over as many as the model counts: the older exporter's initial states."""
        sizes, shape = self._free.folder.sizes(node.input[1]), self._free.shape(node.input[0])
        if sizes is None or shape is None or None in shape or sizes.count(None) != 1:
            return
        axis = sizes.index(None) - len(sizes) + len(shape)
        if axis >= 0:
            node.input[0] = self._one_sample(node.input[0], axis) or node.input[0]

    def _narrow(self, node: onnx.NodeProto) -> None:
        """Give an operator that broadcasts one sample of what is repeated for every sample."""
        like = next((x for x in node.input if x and self._free_axis(x) is not None), None)
        if like is None:
            return
        behind = len(self._free.shape(like) or ()) - (self._free_axis(like) or 0)
        if node.op_type == "MatMul" and behind <= 2:  # those axes are not stretched
            return
        for i, x in enumerate(node.input):
            axis = len(self._free.shape(x) or ()) - behind
            if self._free_axis(x) is None and axis >= 0:
                node.input[i] = self._one_sample(x, axis) or x

    def _one_sample(self, value: Value, axis: int) -> Value | None:
        """What is repeated along `axis`, once; None if it differs from sample to sample."""
        shape = self._free.shape(value) or ()
        if not shape or shape[axis] == 1:
            return value if shape else None
        if shape[axis] != self._batch:
            return None
        first = f"{value}/first{axis}"
        if value in self._model.parameters:
            return self._narrow_parameter(value, axis)
        if first in self._free.op.types:
            return first
        constant = self._tensors.get(value, self._free.op.constants.get(value))
        if constant is not None:
            return self._narrow_constant(first, constant, axis)
        return self._narrow_computed(first, value, axis)

    def _narrow_constant(self, first: Value, constant: Array, axis: int) -> Value | None:
        """A mask or positions, written or folded for every sample."""
        sample = constant.take([0], axis)
        if not (constant == sample).all():
            return None
        self._constants[first] = sample
        self._free.op.name_constant(first, sample)
        return first

    def _narrow_computed(self, first: Value, value: Value, axis: int) -> Value | None:
        """What an Expand repeats, or a Gather by repeated indices, such as the token types of a BERT."""
        source = self._free.op.producer(value)
        rank = len(self._free.shape(value) or ())
        if source is not None and source.op_type == "Gather":
            at = next((a.i for a in source.attribute if a.name == "axis"), 0)
            start = at % len(self._free.shape(source.input[0]) or (0,))
            indices = len(self._free.shape(source.input[1]) or ())
            sample = self._one_sample(source.input[1], axis - start) if start <= axis < start + indices else None
            if sample is not None:
                self._append(helper.make_node("Gather", [source.input[0], sample], [first], name=first, axis=at))
            return None if sample is None else first
        if source is None or source.op_type != "Expand" or not self._stretches(source, axis - rank):
            return None
        bounds = [self._constant(f"{first}/{part}", [n]) for part, n in (("from", 0), ("to", 1), ("axis", axis))]
        self._append(helper.make_node("Slice", [value, *bounds], [first], name=first))
        return first

    def _narrow_parameter(self, name: Value, axis: int) -> Value | None:
        """Train what was repeated for every sample, such as a class token, once."""
        value = self._tensors[name]
        readers = sum(name in node.input for node in self._model.nodes)
        if readers > 1 or (value != value.take([0], axis)).any():
            return None
        self._parameters[name] = self._tensors[name] = value.take([0], axis)
        return self._free.op.argument(name, value.dtype, self._tensors[name].shape)

    def _stretches(self, node: onnx.NodeProto, axis: int) -> bool:
        """Whether an Expand repeats one sample along an axis, counted from the last."""
        shape = self._free.shape(node.input[0])
        return shape is not None and (-axis > len(shape) or shape[axis] == 1)

    def _squeeze(self, node: onnx.NodeProto) -> None:
        """Without axes, Squeeze would remove the batch of one sample too."""
        shape = self._fixed.shape(node.input[0])
        axis = self._free_axis(node.input[0])
        if shape is not None and axis is not None:
            ones = [i for i, size in enumerate(shape) if size == 1 and i != axis]
            node.input[:] = [node.input[0], self._constant(node.output[0], ones)]

    def _resize(self, node: onnx.NodeProto) -> None:
        """Resize to sizes: the batch keeps its own."""
        sizes, axis = self._fixed.folder.sizes(node.input[3]), self._free_axis(node.input[0])
        if sizes is None or axis is None or any(a.name == "axes" for a in node.attribute):
            return
        axes = [i for i in range(len(sizes)) if i != axis]
        node.input[3] = self._constant(node.output[0], [sizes[i] or 1 for i in axes])
        node.attribute.append(helper.make_attribute("axes", axes))

    def _widen(
        self, node: onnx.NodeProto, inputs: Sequence[int], joined: int | None, like: Value | None = None
    ) -> None:
        """Repeat what is constant over one sample for every sample of the operand beside it."""
        free = [x for x in node.input if x and self._free_axis(x) is not None]
        like = like or (free[0] if free else None)
        axis = None if like is None else self._free_axis(like)
        if like is None or axis is None or axis == joined:
            return
        for i in inputs:
            shape = self._free.shape(node.input[i]) if node.input[i] else None
            if shape is None or self._free_axis(node.input[i]) is not None:
                continue
            sample = self._one_sample(node.input[i], axis)
            if sample is None:
                continue
            name = f"{node.output[0] or node.output[1]}/operand{i}"
            self._append(helper.make_node("Shape", [like], [f"{name}/samples"], start=axis, end=axis + 1))
            sizes = [
                self._constant(f"{name}/{part}", list(s))
                for part, s in enumerate((shape[:axis], shape[axis + 1 :]))
                if s
            ]
            sizes.insert(1 if axis else 0, f"{name}/samples")
            self._append(helper.make_node("Concat", sizes, [f"{name}/shape"], axis=0))
            self._append(helper.make_node("Expand", [sample, f"{name}/shape"], [name], name=name))
            self._outer[name] = 1
            node.input[i] = name

    def _append(self, node: onnx.NodeProto) -> None:
        self._free.append(node)
        self._nodes.append(node)

    def _follow_outer(self, node: onnx.NodeProto) -> None:
        """An operator that is no Reshape leaves the order within the free axis as it is."""
        outer = next((self._outer[x] for x in node.input if x in self._outer), None)
        for value in node.output:
            if outer is not None and self._free_axis(value) is not None:
                self._outer.setdefault(value, outer)

    def _free_axis(self, value: Value) -> int | None:
        """The only axis whose size depends on the number of samples."""
        shape = self._free.shape(value)
        return shape.index(None) if shape is not None and shape.count(None) == 1 else None

    def _concat_axis(self, node: onnx.NodeProto) -> int:
        axis = int(next(a.i for a in node.attribute if a.name == "axis"))
        shape = self._free.shape(node.input[0]) or ()
        return axis % len(shape) if shape else axis

    def _constant(self, hint: str, sizes: Sequence[int | None]) -> Value:
        name = f"{hint}/sizes"
        self._constants[name] = np.array(sizes, np.int64)
        self._free.op.name_constant(name, self._constants[name])
        return name


def _batch_axis(sizes: Sequence[int], before: int, batch: int) -> int | None:
    """The axis of a Reshape's target that holds the samples.

    Elements keep their order, and `before` blocks stand in front of the samples. So it is the axis in front of which
    the target has as many blocks; or, if an axis before the samples was merged with them, a whole fraction of them.
    The last axis holds features, and the samples only if no other can.
    """
    fitting = []
    for axis, size in enumerate(sizes):
        outer, rest = divmod(before, prod(sizes[:axis]))
        if rest == 0 and size % (outer * batch) == 0:
            features = axis == len(sizes) - 1 and size > outer * batch
            fitting.append((features, outer, axis))
    return min(fitting)[-1] if fitting else None
