"""Rules of export/gradients/gru.py, lstm.py and rnn.py over their attribute grid."""

from typing import Any

import numpy as np
import pytest

from export.errors import ExportError
from tests.export.directional import check, graph_of
from tests.export.gradients.test_elementwise import random

T, N, I, H = 4, 3, 2, 5
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def inputs(kind: str, D: int, *, bias: bool, initial: bool, steps: int = T) -> list[Any]:
    g, states = GATES[kind], {"GRU": 1, "LSTM": 2, "RNN": 1}[kind]
    values: list[Any] = [random(steps, N, I), random(D, g * H, I, seed=1), random(D, g * H, H, seed=2)]
    values.append(random(D, 2 * g * H, seed=3) if bias else None)
    if initial:
        values += [None, *(random(D, N, H, seed=4 + i) for i in range(states))]
    return values


def given(values: list[Any]) -> list[int]:
    return [i for i, v in enumerate(values) if v is not None]


@pytest.mark.parametrize("kind", ["GRU", "LSTM", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("initial", [True, False])
def test_all_outputs(kind: str, direction: str, bias: bool, initial: bool) -> None:
    values = inputs(kind, 2 if direction == "bidirectional" else 1, bias=bias, initial=initial)
    n = {"GRU": 2, "LSTM": 3, "RNN": 2}[kind]
    check(kind, *values, wanted=given(values), outputs=n, of=range(n), hidden_size=H, direction=direction)


@pytest.mark.parametrize("initial", [True, False])
def test_reset_after_the_product(initial: bool) -> None:
    values = inputs("GRU", 1, bias=True, initial=initial)
    check("GRU", *values, wanted=given(values), outputs=2, of=(0, 1), hidden_size=H, linear_before_reset=1)


@pytest.mark.parametrize("kind", ["GRU", "LSTM", "RNN"])
@pytest.mark.parametrize("of", [[0], [1]])
@pytest.mark.parametrize("steps", [1, 2])
def test_only_the_last_state_or_only_all_states(kind: str, of: list[int], steps: int) -> None:
    values = inputs(kind, 1, bias=True, initial=False, steps=steps)
    check(kind, *values, wanted=given(values), outputs=2, of=of, hidden_size=H)


@pytest.mark.parametrize(
    ("kind", "attributes", "complaint"),
    [
        ("GRU", {"activations": ["Relu", "Tanh"]}, "activations="),
        ("LSTM", {"clip": 3.0}, "clip=3.0"),
        ("LSTM", {"input_forget": 1}, "input_forget"),
    ],
)
def test_what_has_no_rule_is_named(kind: str, attributes: dict[str, Any], complaint: str) -> None:
    values = inputs(kind, 1, bias=True, initial=False)
    with pytest.raises(ExportError, match=complaint):
        graph_of(kind, values, wanted=[0], outputs=2, hidden_size=H, **attributes)


def test_usual_activations_may_be_written_out() -> None:
    values = inputs("LSTM", 1, bias=True, initial=False)
    check("LSTM", *values, wanted=given(values), hidden_size=H, activations=["Sigmoid", "Tanh", "Tanh"])


def test_lengths_of_sequences_are_refused() -> None:
    values = [*inputs("GRU", 1, bias=True, initial=False), np.full(N, T, np.int32)]
    with pytest.raises(ExportError, match="sequence_lens"):
        graph_of("GRU", values, wanted=[0], outputs=2, hidden_size=H)


def test_too_many_steps() -> None:
    values = inputs("GRU", 1, bias=False, initial=False, steps=1025)
    with pytest.raises(ExportError, match="1025 steps are written out one by one"):
        graph_of("GRU", values, wanted=[0], outputs=2, hidden_size=H)
