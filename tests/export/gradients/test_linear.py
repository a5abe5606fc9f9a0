"""Rules of export/gradients/linear.py over their attribute grid."""

from itertools import product

import pytest

from tests.export.directional import check
from tests.export.gradients.test_elementwise import random


@pytest.mark.parametrize(("tA", "tB", "alpha", "beta"), list(product([0, 1], [0, 1], [1.0, 0.5], [1.0, 2.0])))
def test_gemm(tA: int, tB: int, alpha: float, beta: float) -> None:
    A, B = random(*((5, 3) if tA else (3, 5))), random(*((4, 5) if tB else (5, 4)), seed=1)
    check("Gemm", A, B, random(4, seed=2), wanted=(0, 1, 2), transA=tA, transB=tB, alpha=alpha, beta=beta)


@pytest.mark.parametrize("C", [(4,), (1, 4), (3, 1), (3, 4), (1,), ()])
def test_gemm_broadcasts_its_bias(C: tuple[int, ...]) -> None:
    check("Gemm", random(3, 5), random(5, 4, seed=1), random(*C, seed=2), wanted=(0, 1, 2))


def test_gemm_without_bias() -> None:
    check("Gemm", random(3, 5), random(5, 4, seed=1), wanted=(0, 1))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (3, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((1, 3, 4), (2, 4, 5)),
    ],
)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    check("MatMul", random(*a), random(*b, seed=1), wanted=(0, 1))


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
        ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 5, 4)]),
        ("ij->ji", [(2, 3)]),
        ("i,j->ij", [(2,), (3,)]),
        ("ij,ij->", [(2, 3), (2, 3)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]),
    ],
)
def test_einsum(equation: str, shapes: list[tuple[int, ...]]) -> None:
    inputs = [random(*shape, seed=i) for i, shape in enumerate(shapes)]
    check("Einsum", *inputs, wanted=range(len(inputs)), equation=equation)
