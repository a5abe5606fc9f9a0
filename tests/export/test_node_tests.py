"""The onnx package's own node tests, differentiated: every case whose operator has a rule, or a definition.

Each case's model becomes a gradient graph, judged in one random direction by central differences in float64 on
the case's own inputs (moved a little, off the kinks many of them sit on). What is refused must be refused by
one of the reasons below; what is left out is left out by name, with the reason.
"""

import re
import warnings
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from export.errors import ExportError
from export.gradients import RULES, ZERO
from export.graph.builder import GraphBuilder
from export.graph.node import constant_value
from export.graph.padding import write_padding
from export.graph.shape_folding import ShapeFolder
from export.model import OLDEST
from export.training.autodiff import gradients
from export.transforms.expand import expand
from tests.export.directional import model_of
from tests.export.reference_ops import CORRECTED

CONSTANT = {"Clip": [1, 2], "Dropout": [1], "Pad": [2], "BatchNormalization": [3, 4], "Resize": [1, 2], "OneHot": [2]}
CONSTANT |= {"SoftmaxCrossEntropyLoss": [2], "Range": [0, 1, 2], "Pow": [1], "DequantizeLinear": [1, 2]}
CONSTANT |= {"RoiAlign": [1]}
"""Inputs in float that are not differentiated: bounds, ratios, fill values, weights, fixed statistics, boxes."""

REFUSED = {
    r"_training_default|_training_dropout|training_dropout": "draws its own mask",
    r"batchnorm_.*training_mode": "with momentum 0",
    r"tf_crop_and_resize": "tf_crop_and_resize has no gradient rule",
    r"einsum_batch_diagonal": "has no gradient rule",
    r"(gru|lstm|rnn)_batchwise": "layout=1",
    r"(scatternd|with_reduction)_(max|min|mul)": "reduction=",
    r"lstm_with_peepholes": "sequence_lens|peepholes",
    r"gathernd_example_int32_batch_dim1": "batch_dims",
    r"count_include_pad_is_1_ceil_mode_is_True|averagepool_2d_ceil_last_window": "ceil_mode with count_include_pad",
    r"(edge|reflect|wrap)_pad": "only constant padding",
    r"gridsample_bicubic": "mode=cubic has no gradient rule",
    r"gridsample_.*nearest": "nothing flows back to 'Grid'",
    r"roialign_mode_max": "only mode=avg",
    r"sce_(?!.*(log_prob|expanded))": "needs its second output",
}

LEFT_OUT = {
    r"empty_set|zero_size|allowzero|_empty": "nothing to differentiate",
    r"(float16|bfloat16|fp16|_float8|int4|uint)": "not a float32 graph",
    r"resize_.*(antialias|cubic_A_n0p5_exclude_outside)": "the evaluator's own matrix is the forward here",
    r"test_stft$": "onnx infers no type without a window",
    r"test_pow$": "negative bases to fractional powers are not numbers",
}


@cache
def cases() -> dict[str, Any]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    return {case.name: case for case in collected if case.model is not None and usable(case)}


def usable(case: Any) -> bool:
    """Float32 data, standard operators, and at least one operator with a rule."""
    graph = case.model.graph
    if any(re.search(p, case.name) for p in LEFT_OUT):
        return False
    if any(n.domain not in ("", "ai.onnx") for n in graph.node) or not case.data_sets:
        return False
    inputs = case.data_sets[0][0]
    if not all(isinstance(v, np.ndarray) and v.size for v in inputs):
        return False
    if not any(v.dtype == np.float32 for v in inputs) or case.model.opset_import[0].version > NEWEST:
        return False
    first = graph.output[0].type.tensor_type.elem_type
    if first != onnx.TensorProto.FLOAT or graph.node[0].op_type in ZERO:
        return False
    return {n.op_type for n in expand(case.model).graph.node} <= RULES.keys() | ZERO | {"Constant"}


NEWEST = 23
"""the last operator set that all supported tools know"""


def names() -> list[str]:
    return sorted(cases())


@pytest.mark.parametrize("name", names())
def test_case(name: str) -> None:
    case = cases()[name]
    reason = next((r for p, r in REFUSED.items() if re.search(p, name)), None)
    if reason is None:
        judge(case)
        return
    with pytest.raises(ExportError, match=reason):
        judge(case)


def judge(case: Any) -> None:
    # One pass from a case to its gradients, with a branch for each kind of input, attribute and output it may have.
    model = expand(case.model)
    opset = model.opset_import[0].version
    if opset < OLDEST:
        model, opset = onnx.version_converter.convert_version(model, OLDEST), OLDEST
    op = GraphBuilder(opset)
    folder = ShapeFolder(op)
    random = np.random.default_rng(0)
    op_type = case.model.graph.node[0].op_type
    fixed = {x for n in case.model.graph.node for i, x in enumerate(n.input) if i in CONSTANT.get(n.op_type, [])}
    feeds: dict[str, np.ndarray] = {}
    for value, given in zip(model.graph.input, case.data_sets[0][0], strict=True):
        if given.dtype == np.float32 and value.name not in fixed:
            moved = given.astype(np.float64) * (1 + 0.003 * random.uniform(0.2, 1, given.shape))
            feeds[value.name] = np.asarray(moved + 0.003 * random.uniform(0.2, 1, given.shape))
            op.argument(value.name, np.float64, given.shape)
        else:
            keep = op_type == "Resize" or given.dtype != np.float32
            op.name_constant(value.name, given if keep else given.astype(np.float64))
    for tensor in model.graph.initializer:
        op.name_constant(tensor.name, doubled(numpy_helper.to_array(tensor)))
    for proto in model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(proto)
        if copy.op_type == "Constant":
            op.name_constant(copy.output[0], doubled(constant_value(copy)))
            continue
        if copy.op_type == "Cast" and copy.attribute[0].i == onnx.TensorProto.FLOAT:
            copy.attribute[0].i = onnx.TensorProto.DOUBLE
        if folder.fold(copy):
            continue
        if copy.op_type in ("GRU", "LSTM", "RNN") and not copy.output[0]:
            copy.output[0] = op.fresh("states")
        if copy.op_type in ("Conv", "ConvTranspose", "MaxPool", "AveragePool"):
            write_padding(op, copy)
        folder.append(copy, op.append)
    y = model.graph.output[0].name
    reached = moving(op, set(feeds))
    wanted = [x for x in feeds if y in reached[x]]
    if not wanted:
        pytest.fail("the output does not depend on any input that was chosen")
    u_name = op.argument("u", np.float64, op.shape(y))
    adjoints = gradients(op, {y: u_name}, wanted)
    results = [op("Identity", adjoints[x]) for x in wanted]
    forward = model_of(op, list(feeds), [y])
    evaluate = ReferenceEvaluator(forward, new_ops=CORRECTED)
    evaluated: Any = evaluate.run(None, feeds)
    at = np.asarray(evaluated[0])
    if not np.isfinite(at).all():
        pytest.fail("the case's output is not finite")
    u = random.standard_normal(at.shape)
    backward = model_of(op, [*feeds, "u"], results)
    got: Any = ReferenceEvaluator(backward, new_ops=CORRECTED).run(results, {**feeds, "u": u})
    for _ in range(20):
        direction = {x: random.standard_normal(feeds[x].shape) for x in wanted}
        slopes = slopes_along(evaluate, feeds, direction, u)
        analytic = sum(float(np.vdot(g, direction[x])) for g, x in zip(got, wanted, strict=True))
        scale = max(abs(slopes.fine), abs(analytic), 1e-3 * float(np.linalg.norm(u)))
        if slopes.bend <= 1e-3 * scale:
            break
    else:
        pytest.fail("each of twenty directions crosses a kink: move the point")
    error = 1e-5 * scale + 2 * abs(slopes.rough - slopes.fine)
    assert abs(slopes.fine - analytic) <= error, (slopes, analytic)


class Slopes(NamedTuple):
    """Central differences of <u, f> along a direction, by two step sizes."""

    rough: float
    fine: float
    bend: float
    """how far the one-sided slopes are apart: much, where a kink lies within the larger step (two values that are
    nearly equal in one pooling window), and then no difference tells the gradient"""


def slopes_along(
    evaluate: ReferenceEvaluator, feeds: dict[str, np.ndarray], direction: dict[str, np.ndarray], u: np.ndarray
) -> Slopes:
    def at(step: float) -> float:
        value: Any = evaluate.run(None, {k: v + step * direction[k] if k in direction else v for k, v in feeds.items()})
        return float(np.vdot(u, value[0]))

    h, here = 1e-6, at(0)
    far, near = (at(-2 * h), at(2 * h)), (at(-h), at(h))
    bend = max(abs(far[1] - here - (here - far[0])) / (2 * h), abs(near[1] - here - (here - near[0])) / h)
    return Slopes((far[1] - far[0]) / (4 * h), (near[1] - near[0]) / (2 * h), bend)


def moving(op: GraphBuilder, feeds: set[str]) -> dict[str, set[str]]:
    """What depends, differentiably, on each input."""
    reached = {x: {x} for x in feeds}
    for node in op.nodes:
        for values in reached.values():
            if node.op_type not in ZERO and values.intersection(node.input):
                values.update(node.output)
    return reached


def doubled(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float64) if value.dtype == np.float32 else value


def test_there_are_many_cases() -> None:
    """Nothing falls out unseen: so many cases, of so many operators, were judged when this was written."""
    first = {cases()[n].model.graph.node[0].op_type for n in names()}
    assert len(names()) >= 640
    assert len(first) >= 80
