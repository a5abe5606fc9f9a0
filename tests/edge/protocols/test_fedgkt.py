"""Features up, logits down, and each answer with its own sample (He et al. 2020)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import EMBEDDING, LOGITS
from edge.protocols import fedgkt
from edge_sim.result import Result
from tests.fleets import fleet
from tests.payloads import ROUNDS, Case, H, K, M, samples

SCENARIO = {"model": "zoo:mlp:16-8", "split_at": "Relu_5"}


def payload(result: Result) -> int:
    """Features, logits and labels up, logits down."""
    return ROUNDS * (4 * M * H + samples(result) * (4 * 16 + 4 * K + 1 + 4 * K))


PAYLOADS = [Case(payload), Case(payload, {"asynchronous": True})]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_each_sample_gets_the_servers_logits_of_itself(asynchronous: bool, tmp_path: Path) -> None:
    """With devices that do not move, what the server now says of their features is what they hold, row by row."""
    settings = {"asynchronous": asynchronous, "learning_rate": 1e-30, "server_epochs": 2}
    with fleet(tmp_path, "fedgkt", devices=3, rounds=2, split="dirichlet:0.5", settings=settings) as whole:
        for _ in whole.rounds():
            pass
        for device in whole.members:
            protocol = device.protocol
            assert isinstance(protocol, fedgkt.FedGktDevice)
            (features,) = device.engine.outputs(protocol.context.x, EMBEDDING)
            (logits,) = whole.centre.engine.outputs(features, LOGITS)
            np.testing.assert_allclose(protocol.teacher, logits, atol=1e-5)
            assert len(np.unique(logits.round(4), axis=0)) > len(logits) // 2  # rows differ: a shuffle would be seen


def test_no_distillation_before_the_first_answer_and_none_without(tmp_path: Path) -> None:
    with (
        fleet(tmp_path / "a", "fedgkt", devices=2, rounds=3) as both,
        fleet(tmp_path / "b", "fedgkt", devices=2, rounds=3, settings={"to_device": False}) as none,
    ):
        equal = []
        for _ in zip(both.rounds(), none.rounds(), strict=True):
            a, b = both.members[0].engine.parameters(), none.members[0].engine.parameters()
            equal.append(all(np.allclose(a[k], b[k], atol=1e-7) for k in a))
        assert equal == [True, False, False]


def test_the_whole_answers_where_the_server_can_be_asked(tmp_path: Path) -> None:
    with fleet(tmp_path, "fedgkt", devices=2, rounds=1) as whole:
        for _ in whole.rounds():
            pass
        device, x = whole.members[0], whole.world.dataset.x_test
        own, together = device.protocol.heads(device.engine, x, whole.centre.engine)
        np.testing.assert_array_equal(own, device.engine.predict(x))
        (features,) = device.engine.outputs(x, EMBEDDING)
        np.testing.assert_array_equal(together, whole.centre.engine.predict(features))
        assert len(device.protocol.heads(device.engine, x, None)) == 1


@pytest.mark.parametrize("interleave", [True, False])
def test_the_server_learns(interleave: bool, tmp_path: Path) -> None:
    settings = {"interleave": interleave, "server_epochs": 3}
    with fleet(tmp_path, "fedgkt", devices=2, rounds=15, settings=settings) as whole:
        losses = []
        for _ in whole.rounds():
            losses.append(whole.centre.row["loss"])
        assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("bad", [{"alpha": -1.0}, {"temperature": 0.0}, {"server_epochs": 0}, {"max_samples": 0}])
def test_impossible_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        fedgkt.FedGktSettings(**bad)


def test_too_many_samples(tmp_path: Path) -> None:
    from edge.errors import ConfigError

    with (
        pytest.raises(ConfigError, match="has 349 samples, and `max_samples` is 100"),
        fleet(tmp_path, "fedgkt", devices=3, settings={"max_samples": 100}),
    ):
        pass
