"""Rules of export/gradients/fourier.py over their attribute grid."""

from typing import Any

import numpy as np
import pytest

from export.errors import ExportError
from tests.export.directional import check, graph_of
from tests.export.gradients.test_elementwise import random


@pytest.mark.parametrize("length", [None, 6, 5, 9])
@pytest.mark.parametrize(("parts", "settings"), [(1, {}), (1, {"onesided": 1}), (2, {}), (2, {"inverse": 1})])
def test_dft(parts: int, settings: dict[str, Any], length: int | None) -> None:
    given = None if length is None else np.array(length)
    for opset, axis in ((20, 2), (20, -2), (18, 1)):
        x = random(3, 7, parts) if opset < 20 else random(3, 2, 7, parts)
        if opset < 20:
            check("DFT", x, *([] if given is None else [given]), fixed=(1,), axis=axis, opset=opset, **settings)
        else:
            check("DFT", x, given, np.array(axis), fixed=(1, 2), opset=opset, **settings)


@pytest.mark.parametrize(("size", "length"), [(4, None), (4, 7), (4, 6), (3, 8), (6, 8)])
def test_the_inverse_of_one_side(size: int, length: int | None) -> None:
    given = None if length is None else np.array(length)
    check("DFT", random(3, size, 2), given, np.array(1), fixed=(1, 2), inverse=1, onesided=1)


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("step", [2, 5])
def test_stft(step: int, onesided: int) -> None:
    window, x = random(4, seed=1), random(3, 11, 1)
    check("STFT", x, np.array(step), window, wanted=(0, 2), fixed=(1,), onesided=onesided)
    check("STFT", x, np.array(step), window, np.array(4), fixed=(1, 2, 3), onesided=onesided)


def test_complex_frames() -> None:
    check("STFT", random(3, 9, 2), np.array(2), random(4, seed=1), fixed=(1, 2), onesided=0)


def test_a_length_known_only_at_run_time_is_refused() -> None:
    with pytest.raises(ExportError, match="input 1 must be constant"):
        graph_of("DFT", [random(3, 7, 1), np.array(5), np.array(1)], wanted=[0], fixed=[2])
