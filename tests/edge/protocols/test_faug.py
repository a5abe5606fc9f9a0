"""Seeds that balance the labels (Jeong et al. 2018)."""

from pathlib import Path

import numpy as np

from edge.protocols import faug
from tests.fleets import fleet
from tests.payloads import ROUNDS, Case, H, K, M, X

PAYLOADS = [Case(ROUNDS * 2 * M * (H + 4 * K * K) + M * (2 * H + 4 * 2 * K * (X + 1) * M), {"seeds": 2})]


def test_faug_levels_the_labels_from_the_others_seeds(tmp_path: Path) -> None:
    with fleet(tmp_path, "faug", devices=4, rounds=1, split="classes:5", settings={"seeds": 2}) as whole:
        for _ in whole.rounds():
            pass
        for device in whole.members:
            protocol = device.protocol
            assert isinstance(protocol, faug.FaugDevice)
            before = np.bincount(protocol.own.y, minlength=10)
            after = np.bincount(protocol.context.y, minlength=10)
            assert (before == 0).sum() == 5
            assert after.min() >= 0.5 * after.mean()
            assert (after[before > 0] == before[before > 0]).all()
            own = {row.tobytes() for row in protocol.own.x.reshape(len(protocol.own.x), -1)}
            assert not any(row[:-1].tobytes() in own for row in protocol.pool)  # nobody is given its own back


def test_faug_goes_on_with_the_same_samples_after_a_restart(tmp_path: Path) -> None:
    with fleet(tmp_path, "faug", split="classes:5", rounds=2) as whole:
        for _ in whole.rounds():
            pass
        kept = whole.members[0].protocol
        assert isinstance(kept, faug.FaugDevice)
        again = faug.FaugDevice(kept.own, kept.settings)
        again.load_state(kept.state())
        np.testing.assert_array_equal(again.context.x, kept.context.x)
        np.testing.assert_array_equal(again.context.y, kept.context.y)


def test_leakage() -> None:
    """Jeong et al. 2018: |target| / |target and redundant|, and over the union of all."""
    to_server, to_devices = faug.leakage([{1, 2}, {3}], [{4, 5}, {1}])
    assert to_server == [0.5, 0.5]
    assert to_devices == [2 / 5, 1 / 5]
