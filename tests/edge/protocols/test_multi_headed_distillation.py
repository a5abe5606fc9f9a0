"""Chained heads, confident targets, a stale pool (Zhmoginov et al. 2023)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import PROBABILITIES, head_name
from edge.protocols import multi_headed_distillation as mhd
from tests.fleets import fleet
from tests.payloads import DIRECTED, ROUNDS, Case, H, K, R

PAYLOADS = [
    Case(ROUNDS * DIRECTED * (H + 2 * R * K), {"heads": 2}),
    Case(ROUNDS // 2 * DIRECTED * (H + 2 * R * K), {"heads": 2, "refresh_every": 2}),
    Case(ROUNDS * DIRECTED * (H + 2 * R * (K + 1)), {"heads": 2, "weighting": "entropy"}),
    Case(ROUNDS * DIRECTED * (H + R * K + H + 4 * R * 16), {"heads": 1, "embedding_weight": 0.5}),
]

SURE, UNSURE, OTHER = [0.9, 0.1, 0.0], [0.4, 0.3, 0.3], [0.0, 0.2, 0.8]


def test_the_most_confident_is_chosen_for_each_sample_and_head() -> None:
    """Shapes (H = 2, n = 2, K = 3)."""
    own = np.array([[UNSURE, SURE], [UNSURE, UNSURE]], np.float32)
    a = np.array([[SURE, UNSURE], [OTHER, UNSURE]], np.float32)
    b = np.array([[OTHER, OTHER], [UNSURE, SURE]], np.float32)
    chosen = mhd.targets([a, b], own, mhd.MultiHeadedSettings(heads=2))
    np.testing.assert_array_equal(chosen, np.array([[SURE, SURE], [OTHER, SURE]], np.float32))
    without_own = mhd.targets([a, b], own, mhd.MultiHeadedSettings(heads=2, own_target=False))
    np.testing.assert_array_equal(without_own[0, 1], np.array(OTHER, np.float32))
    mean = mhd.targets([a, b], own, mhd.MultiHeadedSettings(heads=2, own_target=False, confidence=False))
    np.testing.assert_allclose(mean, (a + b) / 2, atol=1e-7)
    np.testing.assert_array_equal(mhd.targets([], own, mhd.MultiHeadedSettings(heads=2, own_target=False)), own)


def test_what_is_told_is_every_head_but_the_last_and_the_pool_is_what_was_told(tmp_path: Path) -> None:
    settings = {"heads": 2, "learning_rate": 1e-30, "embedding_weight": 0.5}
    with fleet(tmp_path, "multi-headed-distillation", devices=3, rounds=1, settings=settings) as whole:
        for _ in whole.rounds():
            pass
        tables = {}
        for device in whole.devices:
            names = [head_name(PROBABILITIES, k) for k in range(2)]
            *heads, embedding = device.engine.outputs(whole.world.reference.x, *names, "embedding")
            tables[device.id] = np.concatenate(heads), embedding
        for device in whole.devices:
            protocol = device.protocol
            assert isinstance(protocol, mhd.MultiHeadedDistillation)
            theirs = [j for j in sorted(tables) if j != device.id]
            np.testing.assert_array_equal(protocol.pool, np.stack([tables[j][0] for j in theirs]))
            np.testing.assert_array_equal(protocol.embeddings, np.stack([tables[j][1] for j in theirs]))


def test_the_pool_is_stale_and_bounded(tmp_path: Path) -> None:
    settings = {"heads": 1, "pool": 3, "refresh_every": 2}
    with fleet(tmp_path, "multi-headed-distillation", devices=3, rounds=7, settings=settings) as whole:
        sizes, pools = [], []
        for _ in whole.rounds():
            protocol = whole.devices[0].protocol
            assert isinstance(protocol, mhd.MultiHeadedDistillation)
            sizes.append(len(protocol.pool))
            pools.append(protocol.pool.copy())
        assert sizes == [0, 2, 2, 3, 3, 3, 3]
        np.testing.assert_array_equal(pools[2], pools[1])
        np.testing.assert_array_equal(pools[3][0], pools[1][1])  # the oldest went first
        assert not np.array_equal(pools[5], pools[3])


def test_auxiliary_heads_do_not_touch_the_main_head_itself(tmp_path: Path) -> None:
    """With the private term off, distillation moves trunk and auxiliary heads, and not the main head's own weights."""
    with fleet(tmp_path, "multi-headed-distillation", devices=2, rounds=2, settings={"heads": 2}) as whole:
        for _ in whole.rounds():
            pass
        device = whole.devices[0]
        assert isinstance(device.protocol, mhd.MultiHeadedDistillation)
        before = device.engine.parameters()
        n = 8
        batch: dict[str, Any] = {
            "x": whole.world.dataset.x_train[:n],
            "labels": whole.world.dataset.y_train[:n],
            "reference_x": whole.world.reference.x[:n],
        }
        batch |= {head_name("reference_target", k): device.protocol.pool[0][:n] for k in (1, 2)}
        device.engine.step(batch, learning_rate=1.0, **{"weight/cross_entropy": 0.0})
        moved = {k for k, v in device.engine.parameters().items() if not np.array_equal(v, before[k])}
        assert {k for k in before if k.startswith("head")} <= moved
        main = [k for k in before if not k.startswith("head")][-2:]
        assert not moved & set(main)
        assert len(moved) == len(before) - 2


def test_answers_by_head(tmp_path: Path) -> None:
    with fleet(tmp_path, "multi-headed-distillation", devices=2, rounds=1, settings={"heads": 3}) as whole:
        for _ in whole.rounds():
            pass
        device, x = whole.devices[0], whole.world.dataset.x_test
        heads = device.protocol.heads(device.engine, x, None)
        assert len(heads) == 4
        np.testing.assert_array_equal(heads[0], device.engine.predict(x))


@pytest.mark.parametrize("bad", [{"heads": 0}, {"teachers": 0}, {"refresh_every": 0}, {"aux_weight": -1.0}])
def test_impossible_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        mhd.MultiHeadedSettings(**bad)


def test_a_weighted_mean_instead_of_the_most_confident() -> None:
    settings = mhd.MultiHeadedSettings(heads=1, weighting="margin")
    own, other = np.array([[[0.1, 0.0, 0.9]]]), np.array([[[0.0, 0.3, 0.7]]])  # (w p, 1 - w) of two classes
    np.testing.assert_allclose(mhd.targets([other], own, settings), [[[0.25, 0.75]]], rtol=1e-6)
    with pytest.raises(ValueError, match="choose one"):
        mhd.MultiHeadedSettings(weighting="margin", confidence=False)
