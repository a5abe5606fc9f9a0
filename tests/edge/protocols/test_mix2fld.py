"""Seeds that are mixed and unmixed, and the model that comes of them (Oh et al. 2020)."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.protocols import mix2fld
from tests.fleets import fleet
from tests.payloads import ROUNDS, Case, H, K, M, P, X

PAYLOADS = [Case(ROUNDS * M * (H + 4 * K * K + H + 4 * P) + M * (H + 4 * 7 * (X + 2)), {"seeds": 7})]


@given(st.floats(0.01, 0.49), st.integers(0, 1000))
def test_unmixing_makes_labels_hard(ratio: float, seed: int) -> None:
    """Linear in the samples as in their labels: put one-hot labels in as samples, and hard ones must come out."""
    one_hot = np.eye(4)
    pairs = [(0, 1), (1, 0), (2, 3), (3, 2), (1, 2)]
    rows = np.array([[*(ratio * one_hot[a] + (1 - ratio) * one_hot[b]), a, b] for a, b in pairs])
    x, y = mix2fld.unmixed({"a": rows[[0, 2, 4]], "b": rows[[1, 3]]}, ratio)
    assert sorted(y) == [0, 1, 2, 3]  # the pair (1, 2) has no partner
    np.testing.assert_allclose(x, one_hot[y], atol=1e-5 / (1 - 2 * ratio))


def test_seeds_of_one_device_are_not_unmixed_with_each_other() -> None:
    rows = np.array([[0.1, 0.9, 0, 1], [0.9, 0.1, 1, 0]])
    assert len(mix2fld.unmixed({"a": rows}, 0.1)[1]) == 0
    assert len(mix2fld.unmixed({"a": rows[:1], "b": rows[1:]}, 0.1)[1]) == 2


def test_mixed_up_seeds_are_what_they_say() -> None:
    random = np.random.default_rng(0)
    y = np.repeat([0, 3, 7], 5)
    x = (np.eye(10)[y] + 0).astype(np.float32)
    rows = mix2fld.mixed_up(x, y, mix2fld.Mix2FldSettings(seeds=12, mixup_lambda=0.2), random)
    assert rows.shape == (12, 12)
    for *sample, a, b in rows.tolist():
        assert a != b
        np.testing.assert_allclose(sample, 0.2 * np.eye(10)[int(a)] + 0.8 * np.eye(10)[int(b)], atol=1e-6)
    assert len({(a, b) for *_, a, b in rows.tolist()}) == 6  # all pairs, in both orders
    assert len(mix2fld.mixed_up(x[:5], y[:5], mix2fld.Mix2FldSettings(), random)) == 0  # one label: nothing to mix


def test_mix2fld_sends_the_model_of_the_server(tmp_path: Path) -> None:
    with fleet(tmp_path, "mix2fld", split="classes:5", rounds=2) as whole:
        for _ in whole.rounds():
            pass
        assert whole.centre.row["seeds"] > 20
        for device in whole.members:
            for name, value in whole.centre.engine.parameters().items():
                np.testing.assert_array_equal(device.engine.parameters()[name], value)
