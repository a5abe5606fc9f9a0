"""The language of objectives, and the gradients of the losses against their closed forms."""

from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from export.errors import ExportError
from export.graph.builder import GraphBuilder
from export.objectives import Rows, Term, parse
from export.training.autodiff import gradients
from tests.export.directional import model_of


def test_terms_are_read() -> None:
    assert parse("cross_entropy") == [Term("cross_entropy", "private", 1.0)]
    assert parse("0.5*cross_entropy + 2e-1 * squared_error(reference)") == [
        Term("cross_entropy", "private", 0.5),
        Term("squared_error", "reference", 0.2),
    ]
    assert [t.key for t in parse("cross_entropy+squared_error(reference)")] == [
        "cross_entropy",
        "squared_error(reference)",
    ]
    aux = parse("cross_entropy + 0.5*soft_cross_entropy(reference, 2)")[1]
    assert (aux, aux.key) == (Term("soft_cross_entropy", "reference", 0.5, head=2), "soft_cross_entropy(reference,2)")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not"),
        (
            "hinge",
            "NAME one of: binary_cross_entropy, cross_entropy, embedding_distance, focal, huber, kullback_leibler",
        ),
        ("cross_entropy + ", "is not"),
        ("x*cross_entropy", "is not"),
        ("cross_entropy(elsewhere)", "is not"),
        ("cross_entropy + cross_entropy", "twice"),
        ("squared_error(reference)", "private batch"),
        ("huber[0]", "takes 0 to 1 numbers in brackets, each from 1e-06"),
        ("huber[1,2]", "takes 0 to 1 numbers"),
        ("cross_entropy[1]", "takes 0 numbers in brackets"),
        ("focal[0.5]", "each from 1 to"),
        ("weighted_cross_entropy", "takes 1 or more numbers"),
        ("weighted_cross_entropy[1,x]", "takes 1 or more numbers"),
    ],
)
def test_bad_objectives(text: str, complaint: str) -> None:
    with pytest.raises(ExportError, match=complaint):
        parse(text)


def gradient_of(term: str, logits: np.ndarray, *, embedding: bool = False, **inputs: np.ndarray) -> np.ndarray:
    """dL/dlogits in float64 (or dL/dembedding, when `logits` plays that part)."""
    op = GraphBuilder(18)
    z = op.argument("z", np.float64, ["n", *logits.shape[1:]])

    def argument(name: str, dtype: type, *_: object) -> str:
        return op.argument(name, np.float64 if dtype is np.float32 else dtype, inputs[name].shape)

    def scalar(name: str, default: float) -> str:
        return op.argument(name, np.float64, ())

    rows = Rows(z, logits.shape[1], 0, z if embedding else None, argument, scalar)
    loss = Term(term, "private", 1.0).build(op, rows)
    (dz,) = gradients(op, {loss: op.like(z, 1)}, [z]).values()
    model = model_of(op, ["z", *inputs], [dz])
    results: Any = ReferenceEvaluator(model).run(None, {"z": logits, **inputs})
    return np.asarray(results[0], np.float64)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def test_cross_entropy_is_p_minus_onehot() -> None:
    random = np.random.default_rng(0)
    z, y = random.standard_normal((5, 4)), random.integers(0, 4, 5)
    np.testing.assert_allclose(gradient_of("cross_entropy", z, labels=y), (softmax(z) - np.eye(4)[y]) / 5, atol=1e-12)


def test_squared_error_gradient_even_outside_the_simplex() -> None:
    random = np.random.default_rng(1)
    z, q = random.standard_normal((5, 4)), random.standard_normal((5, 4))
    p = softmax(z)
    e = p - q
    expected = 2 * (p * e - p * (p * e).sum(axis=1, keepdims=True)) / 5
    np.testing.assert_allclose(gradient_of("squared_error", z, target=q), expected, atol=1e-12)
    # ... and the closed form itself against central differences.
    v, h = random.standard_normal(z.shape), 1e-6

    def loss(x: np.ndarray) -> float:
        return float(((softmax(x) - q) ** 2).sum(axis=1).mean())

    assert (loss(z + h * v) - loss(z - h * v)) / (2 * h) == pytest.approx(float((expected * v).sum()), rel=1e-5)


def test_soft_cross_entropy_is_p_minus_q() -> None:
    random = np.random.default_rng(2)
    z, q = random.standard_normal((5, 4)), softmax(random.standard_normal((5, 4)))
    np.testing.assert_allclose(gradient_of("soft_cross_entropy", z, target=q), (softmax(z) - q) / 5, atol=1e-12)


@pytest.mark.parametrize("T", [1.0, 4.0])
def test_kullback_leibler_with_temperature(T: float) -> None:
    """T (softmax(z/T) - softmax(teacher/T)): algorithms 0."""
    random = np.random.default_rng(3)
    z, teacher = random.standard_normal((5, 4)), random.standard_normal((5, 4))
    got = gradient_of("kullback_leibler", z, target_logits=teacher, temperature=np.array(T))
    np.testing.assert_allclose(got, T * (softmax(z / T) - softmax(teacher / T)) / 5, atol=1e-12)


def test_embedding_distance_of_directions() -> None:
    """With unit vectors u, t: L = mean |u - t|^2, so that dL/de = -2 (t - (t.u) u) / (n |e|)."""
    random = np.random.default_rng(4)
    e, t = random.standard_normal((5, 6)), random.standard_normal((5, 6))
    length = np.linalg.norm(e, axis=1, keepdims=True)
    u, direction = e / length, t / np.linalg.norm(t, axis=1, keepdims=True)
    expected = -2 * (direction - (direction * u).sum(axis=1, keepdims=True) * u) / (5 * length)
    got = gradient_of("embedding_distance", e, embedding=True, target_embedding=t)
    np.testing.assert_allclose(got, expected, atol=1e-9)
