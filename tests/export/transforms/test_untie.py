"""Weights that an exporter merged because they were equal are different parameters; shared ones are one."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edge.engines.onnx_runtime import create
from export.load import from_proto
from export.model import Model
from export.write import export

node = helper.make_node
Weights = dict[str, Any]
ROWS, D, LABELS = 4, 3, np.array([0, 1, 2, 1])


def proto_of(nodes: Iterable[onnx.NodeProto], weights: Mapping[str, Any], element: int = TensorProto.FLOAT) -> Any:
    dtype = helper.tensor_dtype_to_np_dtype(element)
    graph = helper.make_graph(
        list(nodes),
        "ties",
        [helper.make_tensor_value_info("x", element, ["batch", D])],
        [helper.make_tensor_value_info("y", element, ["batch", D])],
        [numpy_helper.from_array(v.astype(dtype) if v.dtype.kind == "f" else v, k) for k, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def loaded(nodes: Iterable[onnx.NodeProto], weights: Mapping[str, Any], *, keep_ties: bool = False) -> Model:
    return from_proto(proto_of(nodes, weights), name="ties", origin="ties.onnx", keep_ties=keep_ties)


def grown(kinds: list[str], seed: int) -> tuple[list[onnx.NodeProto], Weights]:
    """A graph of layers with fresh weights, many of which are equal."""
    random = np.random.default_rng(seed)
    square = random.standard_normal((D, D))
    nodes: list[onnx.NodeProto] = []
    weights: Weights = {}
    value = "x"
    for i, kind in enumerate([*kinds, "gemm"]):
        names = {part: f"l{i}.{part}" for part in ("weight", "scale", "bias")}
        result = "y" if i == len(kinds) else f"v{i}"
        if kind == "gemm":
            nodes.append(node("Gemm", [value, names["weight"], names["bias"]], [result], transB=1))
            weights |= {names["weight"]: square, names["bias"]: np.zeros(D)}
        elif kind == "turned":
            nodes.append(node("Transpose", [names["weight"]], [f"t{i}"], perm=[1, 0]))
            nodes.append(node("MatMul", [value, f"t{i}"], [result]))
            weights[names["weight"]] = square
        elif kind == "norm":
            nodes.append(node("LayerNormalization", [value, names["scale"], names["bias"]], [result], epsilon=0.1))
            weights |= {names["scale"]: np.ones(D), names["bias"]: np.zeros(D)}
        elif kind == "named":
            nodes += [node("Identity", [names["bias"]], [f"i{i}"]), node("Add", [value, f"i{i}"], [result])]
            weights[names["bias"]] = np.zeros(D)
        elif kind == "scale":
            nodes.append(node("Mul", [names["scale"], value], [result]))
            weights[names["scale"]] = np.ones(D)
        else:
            nodes.append(node("Tanh", [value], [result]))
        value = result
    return nodes, weights


def merged(nodes: list[onnx.NodeProto], weights: Weights) -> tuple[list[onnx.NodeProto], Weights]:
    """The graph with one initializer for all that are equal, and one node for all that compute the same."""
    first: dict[bytes, str] = {}
    rename = {name: first.setdefault(value.tobytes(), name) for name, value in weights.items()}
    computed: dict[bytes, str] = {}
    rest = []
    for original in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(original)
        copy.input[:] = [rename.get(x, x) for x in original.input]
        output = copy.output[0]
        copy.output[0] = ""
        key = copy.SerializeToString(deterministic=True)
        copy.output[0] = output
        if original.op_type in ("Transpose", "Identity") and key in computed:
            rename[output] = computed[key]
        else:
            computed[key] = output
            rest.append(copy)
    return rest, {name: weights[name] for name in dict.fromkeys(first.values())}


def loss(evaluator: ReferenceEvaluator, x: Any) -> float:
    results: Any = evaluator.run(None, {"x": x})
    z = results[0] - results[0].max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(ROWS), LABELS]))


KINDS = st.lists(st.sampled_from(["gemm", "turned", "norm", "named", "scale", "tanh"]), min_size=1, max_size=6)


@given(KINDS, st.integers(0, 10**6))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_gradients_are_those_of_the_untied_function(tmp_path: Path, kinds: list[str], seed: int) -> None:
    nodes, weights = grown(kinds, seed)
    model = loaded(*merged(nodes, weights))
    assert sorted(v.tobytes() for v in model.parameters.values()) == sorted(
        v.astype(np.float32).tobytes() for v in weights.values()
    )
    random = np.random.default_rng(seed)
    x = random.standard_normal((ROWS, D))
    engine = create(export(model, tmp_path / "bundle"))
    before = engine.parameters()
    engine.step({"x": x.astype(np.float32), "labels": LABELS}, learning_rate=1.0)
    after = engine.parameters()
    norms = sorted(float(np.sum(np.square(before[k] - after[k], dtype=np.float64))) for k in before)

    h, expected = 1e-5, []
    for name, value in weights.items():
        square = 0.0
        for i in np.ndindex(value.shape):
            ends = []
            for step in (h, -h):
                moved = value.copy()
                moved[i] += step
                proto = proto_of(nodes, weights | {name: moved}, TensorProto.DOUBLE)
                ends.append(loss(ReferenceEvaluator(proto), x))
            square += ((ends[0] - ends[1]) / (2 * h)) ** 2
        expected.append(square)
    np.testing.assert_allclose(norms, sorted(expected), rtol=1e-3, atol=1e-6)


TWO = [node("Gemm", ["x", "w", "b"], ["h"]), node("Gemm", ["h", "w", "b"], ["y"])]
SQUARE = {"w": np.eye(D), "b": np.zeros(D)}


def test_the_note_names_what_was_copied() -> None:
    model = loaded(TWO, SQUARE)
    assert list(model.parameters) == ["w", "b", "w#2", "b#2"]
    assert model.notes == (
        "read by several nodes, so each was given its own copy: w, b (exporters merge equal weights; --keep-ties "
        "trains them as one)",
    )


def test_ties_that_are_kept() -> None:
    model = loaded(TWO, SQUARE, keep_ties=True)
    assert list(model.parameters) == ["w", "b"]
    assert model.notes == ()


@pytest.mark.parametrize("turned", [False, True])
def test_an_embedding_that_is_the_output_layer_too_is_one_parameter(turned: bool) -> None:
    nodes = [
        node("ArgMax", ["x"], ["token"], axis=1, keepdims=0),
        node("Gather", ["w", "token"], ["e"]),
        *([node("Transpose", ["w"], ["t"], perm=[1, 0])] if turned else []),
        node("MatMul", ["e", "t" if turned else "w"], ["y"]),
    ]
    model = loaded(nodes, {"w": np.eye(D)})
    assert list(model.parameters) == ["w"]
    assert model.notes == ("shared by design, so one parameter: w",)


def test_arithmetic_among_weights_is_one_parameter() -> None:
    """A weight normalization: w = v / |v|."""
    nodes = [
        node("ReduceL2", ["v", "axes"], ["length"], keepdims=1),
        node("Div", ["v", "length"], ["w"]),
        node("MatMul", ["x", "w"], ["y"]),
    ]
    model = loaded(nodes, {"v": np.eye(D), "axes": np.array([0])})
    assert list(model.parameters) == ["v"]


def test_merged_statistics_leave_scale_and_bias_trained() -> None:
    """A fresh BatchNormalization: its scale is its variance, and its bias its mean."""
    nodes = [
        node("BatchNormalization", ["x", "one", "zero", "zero", "one"], ["h"]),
        node("Gemm", ["h", "w", "zero"], ["y"]),
    ]
    model = loaded(nodes, {"one": np.ones(D), "zero": np.zeros(D), "w": np.eye(D)})
    assert list(model.parameters) == ["one", "zero", "w", "zero#3"]
    assert sorted(model.constants) == ["one#2", "zero#2"]


@pytest.mark.parametrize("keep_ties", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_merged_statistics_are_never_trained(keep_ties: bool, named: bool) -> None:
    """As the older exporter writes them, an Identity for every name but the first; and where ties are to be kept."""
    statistics = ["mean", "variance"] if named else ["zero", "one"]
    identities = [node("Identity", ["zero"], ["mean"]), node("Identity", ["one"], ["variance"])] if named else []
    nodes = [
        *identities,
        node("BatchNormalization", ["x", "one", "zero", *statistics], ["h"], name="norm"),
        node("Gemm", ["h", "w"], ["y"]),
    ]
    model = loaded(nodes, {"one": np.ones(D), "zero": np.zeros(D), "w": np.eye(D)}, keep_ties=keep_ties)
    norm = next(n for n in model.nodes if n.op_type == "BatchNormalization")
    assert list(model.parameters) == [*norm.input[1:3], "w"]
    assert set(norm.input[3:5]) <= model.constants.keys()
