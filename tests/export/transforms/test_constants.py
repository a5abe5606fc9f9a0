"""What an exporter stores beside the weights is not trained, and the note says so."""

from typing import Any

import numpy as np
import pytest
from onnx import helper

from export.errors import ExportError
from export.load import from_proto
from export.model import Model
from export.transforms.trainable import select
from tests.export.test_load import LAYER, classifier

node = helper.make_node
ONES, ZEROS = np.ones(4, np.float32), np.zeros(4, np.float32)
WEIGHTS = {"w": np.eye(4, 3, dtype=np.float32), "b": np.zeros(3, np.float32)}
NEXT = node("Gemm", ["h", "w", "b"], ["y"])


def loaded(nodes: list[Any], **weights: Any) -> Model:
    return from_proto(classifier(nodes, weights={**WEIGHTS, **weights}), name="m", origin="m.onnx")


def masked(op_type: str, values: list[float]) -> Model:
    return loaded([node(op_type, ["x", "m"], ["h"]), NEXT], m=np.array(values, np.float32))


@pytest.mark.parametrize(
    ("op_type", "values"), [("Add", [0, -100, 0, 0]), ("Add", [0, -np.inf, 0, -np.inf]), ("Mul", [1, 0, 1, 1])]
)
def test_masks(op_type: str, values: list[float]) -> None:
    model = masked(op_type, values)
    assert list(model.parameters) == ["w", "b"]
    assert model.notes == ("constants, not trained: m (a mask); --train all,NAME trains one",)


@pytest.mark.parametrize(
    ("op_type", "values"), [("Add", [0, 0, 0, 0]), ("Add", [0, -0.5, 0.1, 0]), ("Mul", [1, 1, 1, 1])]
)
def test_fresh_biases_and_scales_are_parameters(op_type: str, values: list[float]) -> None:
    model = masked(op_type, values)
    assert sorted(model.parameters) == ["b", "m", "w"]
    assert model.notes == ()


@pytest.mark.parametrize(("heads", "parameters"), [(1, ["b", "w"]), (2, ["b", "m", "w"])], ids=["mask", "bias"])
def test_zeros_added_to_attention_scores(heads: int, parameters: list[str]) -> None:
    """Zeros that all heads share are the mask of sequences of one length; a fresh bias has its own for each head."""
    nodes = [
        node("Reshape", ["x", "heads"], ["q"]),
        node("Transpose", ["q"], ["k"], perm=[0, 1, 3, 2]),
        node("MatMul", ["q", "k"], ["scores"]),
        node("Add", ["scores", "m"], ["masked"]),
        node("Softmax", ["masked"], ["a"], axis=-1),
        node("MatMul", ["a", "q"], ["o"]),
        node("Reshape", ["o", "flat"], ["h"]),
        NEXT,
    ]
    sizes = {"heads": np.array([0, 2, 2, 1]), "flat": np.array([0, 4])}
    model = loaded(nodes, m=np.zeros((1, heads, 2, 2), np.float32), **sizes)
    assert sorted(model.parameters) == parameters
    assert any("m (a mask that hides nothing)" in note for note in model.notes) == (heads == 1)


@pytest.mark.parametrize(("update", "parameters"), [([4, 4], ["b", "w"]), ([0.5, -0.1], ["b", "m", "w"])])
def test_numbers_of_regions_of_a_shifted_window(update: list[float], parameters: list[str]) -> None:
    """Each region of Swin's mask has one number, which is written into a table; other rows may be trained."""
    nodes = [
        node("ScatterND", ["table", "where", "m"], ["regions"]),
        node("Add", ["x", "regions"], ["h"]),
        NEXT,
    ]
    fixed = {"table": np.array([0, -100, 0, 0], np.float32), "where": np.array([[1], [2]])}
    model = loaded(nodes, m=np.array(update, np.float32), **fixed)
    assert sorted(name for name in model.parameters if name != "table") == parameters
    assert any("m (numbers that mark regions)" in note for note in model.notes) == ("m" not in parameters)


def test_a_number() -> None:
    model = loaded([node("Mul", ["x", "half"], ["h"]), NEXT], half=np.array([0.5], np.float32))
    assert sorted(model.parameters) == ["b", "w"]
    assert "half (a number)" in model.notes[0]
    again = select(model, "all,half")
    assert sorted(p for p in again.parameters if again.trains(p)) == ["b", "half", "w"]


def test_a_group_normalization_keeps_its_own_scale_and_bias() -> None:
    nodes = [
        node("Reshape", ["x", "groups"], ["g"]),
        node("InstanceNormalization", ["g", "one", "zero"], ["n"]),
        node("Reshape", ["n", "channels"], ["c"]),
        node("Mul", ["c", "scale"], ["s"]),
        node("Add", ["s", "bias"], ["h"]),
        NEXT,
    ]
    sizes = {"groups": np.array([0, 2, 2]), "channels": np.array([0, 4])}
    model = loaded(nodes, one=ONES[:2], zero=ZEROS[:2], scale=ONES, bias=ZEROS, **sizes)
    assert sorted(model.parameters) == ["b", "bias", "scale", "w"]


CHOICES = {"w,b": ["b", "w"], "!w": ["b"], "all,!b": ["w"], "?,!w": ["b"]}


@pytest.mark.parametrize("spec", CHOICES)
def test_lists_and_negations(spec: str) -> None:
    model = select(loaded([LAYER]), spec)
    assert sorted(p for p in model.parameters if model.trains(p)) == CHOICES[spec]


@pytest.mark.parametrize(("spec", "complaint"), [("all,!v", "--train !v matches no"), ("w,!w", "leaves no parameter")])
def test_a_list_that_cannot_be(spec: str, complaint: str) -> None:
    with pytest.raises(ExportError, match=complaint):
        select(loaded([LAYER]), spec)
