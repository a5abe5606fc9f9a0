"""Virtual time: what takes how long, who is there when, and that neither threads nor a cluster change a result."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.errors import ConfigError
from edge_sim import cli, conditions, on_ray
from edge_sim import scenario_files as scenarios
from edge_sim.boards import load, names
from edge_sim.result import Result
from edge_sim.rounds import Spread
from edge_sim.run import Frame, run
from edge_sim.scenario import Scenario
from tests.edge_sim.test_sim import timeless

SMALL: dict[str, Any] = {"devices": 4, "split": "classes:5", "model": "zoo:mlp:16", "rounds": 6}
ROUGH: dict[str, Any] = {
    "devices": 6,
    "topology": "complete",
    "rounds": 12,
    "latency": 0.05,
    "jitter": 0.03,
    "packet_loss": 0.05,
    "duplication": 0.05,
    "uplink": 500.0,
    "downlink": 800.0,
    "board": "pi-4",
    "boards": [{"of": "50%", "board": "pi-zero-2-w"}],
    "links": [{"of": "1", "to": "2", "latency": 0.3}, {"of": "4", "uplink": 300.0}],
    "partitions": [{"groups": ["0-2", "3-5"], "at": 2.0, "seconds": 1.5}],
    "absences": [
        {"of": "0", "at": 1.0, "seconds": 0.6},
        {"of": "5", "at": 0.0, "seconds": 1.0},
        {"of": "3", "at": 0.5, "seconds": 0.2, "every": 2.0, "asleep": True},
        {"of": "25%", "at": 9.0, "seconds": 0.4, "every": 9.0},
    ],
    "round_timeout": 5.0,
}
"""everything at once"""


def played(**changes: Any) -> Result:
    return run(Scenario(**{**SMALL, **changes}))


def bare(outcome: Result) -> str:
    """Without what depends on the machine, and on where it ran."""
    values = timeless(outcome.model_dump(mode="json"))
    values.pop("scenario")
    return json.dumps(values)


def test_a_round_takes_what_the_board_takes_for_it() -> None:
    """Isolated devices on a Pi 4: 5 steps of MLP 64-16-10 on 32 rows, forward and backward, and nothing else."""
    outcome = played(protocol="isolated", board="pi-4", settings={"isolated": {"local_steps": 5}})
    macs = 5 * 32 * (3 * 16 * 10 + 2 * 64 * 16)  # the first layer has no gradient of its input
    expected = load("pi-4").seconds(macs, 5)
    assert expected > 0.9 * 5 * load("pi-4").call_seconds
    for number, one in enumerate(outcome.rounds, start=1):
        assert one.link_seconds == pytest.approx(expected, rel=0.02)
        assert one.virtual_seconds == pytest.approx(number * expected, rel=0.02)
    assert outcome.virtual_seconds == outcome.rounds[-1].virtual_seconds
    assert outcome.rounds[-1].devices == 4


def test_boards_differ_as_their_source_says() -> None:
    seconds = {name: load(name).seconds(569e6, 0) * 1e3 for name in names()}
    measured = {"pi-zero-2-w": 393.9, "pi-3": 205.7, "pi-4": 124.3, "pi-5": 2 * 20.3}
    assert seconds == {name: pytest.approx(ms, rel=0.02) for name, ms in measured.items()}


def test_the_slowest_sets_the_pace_of_who_listens_to_it() -> None:
    fast = played(board="pi-5").virtual_seconds
    mixed = played(board="pi-5", boards=[{"of": "0", "board": "pi-zero-2-w"}]).virtual_seconds
    assert (mixed or 0) > 5 * (fast or 1)


def test_latency_is_waited_for_once_a_round() -> None:
    outcome = played(latency=0.25)
    assert outcome.virtual_seconds == pytest.approx(6 * 0.25)
    assert outcome.mean_accuracy == played().mean_accuracy


def test_rough_conditions_are_survived_and_threads_change_nothing() -> None:
    alone, many = (played(**ROUGH, workers=n) for n in (1, 3))
    assert bare(alone) == bare(many)
    assert [d.round for d in alone.devices] == [12] * 6
    assert alone.counts["duplicate"] > 0
    assert bare(alone) != bare(played(**ROUGH, seed=1))


@pytest.mark.parametrize("protocol", ["fedavg", "dynamic-averaging", "multi-headed-distillation"])
def test_threads_change_nothing_for_other_protocols(protocol: str) -> None:
    changes = {**ROUGH, "rounds": 5, "protocol": protocol}
    assert bare(played(**changes)) == bare(played(**changes, workers=3))


def test_who_joins_late_learns_where_the_others_are() -> None:
    outcome = played(rounds=12, latency=0.1, absences=[{"of": "2", "at": 0, "seconds": 0.65}], round_timeout=0.2)
    assert [d.round for d in outcome.devices] == [12] * 4
    taken = [one.devices for one in outcome.rounds]
    assert taken[0] == taken[1] == 3
    assert taken[-1] == 4


def test_a_crash_goes_on_after_the_checkpoint() -> None:
    """Who is killed in a round does it again; where all wait for it, the rest is as if nothing had been."""
    whole = played(latency=0.1, round_timeout=100.0)
    killed = played(latency=0.1, round_timeout=100.0, absences=[{"of": "1", "at": 0.25, "seconds": 1.0}])
    assert [d.accuracy_all for d in killed.devices] == [d.accuracy_all for d in whole.devices]
    assert 0.9 < (killed.virtual_seconds or 0) - (whole.virtual_seconds or 9) < 1.6
    assert [one.devices for one in killed.rounds] == [4, 4, 3, 4, 4, 4]  # round 3 was over without it


def test_sleep_takes_its_time_and_nothing_else() -> None:
    awake = played(board="pi-4", round_timeout=100.0)
    asleep = played(
        board="pi-4", round_timeout=100.0, absences=[{"of": "1", "at": 0.01, "seconds": 1.0, "asleep": True}]
    )
    assert [d.accuracy_all for d in asleep.devices] == [d.accuracy_all for d in awake.devices]
    assert (asleep.virtual_seconds or 0) - (awake.virtual_seconds or 9) == pytest.approx(1.0, abs=0.01)


def test_a_fleet_that_gets_nowhere_is_told() -> None:
    away = [{"of": "all", "at": 0.3, "seconds": 0.2, "every": 0.4}]
    long = {"d-distillation": {"local_steps": 400}}
    with pytest.raises(ConfigError, match="nobody has finished a round from"):
        played(board="pi-zero-2-w", round_timeout=0.02, absences=away, settings=long)


def test_who_leaves_for_good_is_not_waited_for_in_the_end() -> None:
    outcome = played(latency=0.1, round_timeout=1.0, absences=[{"of": "3", "at": 0.25}])
    assert [d.round for d in outcome.devices] == [6, 6, 6, 2]
    assert [one.devices for one in outcome.rounds] == [4, 4, 3, 3, 3, 3]
    assert outcome.rounds[-1].metrics["timeouts"] > 0


def test_a_partition_holds_up_who_would_talk_across_it() -> None:
    cut = {"groups": ["0-1", "2-3"], "at": 0.25, "seconds": 5.0}
    held = played(latency=0.1, round_timeout=100.0, partitions=[cut])
    assert held.virtual_seconds == pytest.approx(0.2 + 0.05 + 5.0 + 0.1 * 3, abs=0.2)
    assert held.mean_accuracy == played(latency=0.1).mean_accuracy
    lost = played(latency=0.1, round_timeout=1.0, partitions=[{**cut, "lost": True}])
    assert sum(one.metrics["timeouts"] for one in lost.rounds) > 0


def test_the_spread_of_a_fleet_without_all_tables_at_once() -> None:
    tables = np.random.default_rng(0).dirichlet(np.ones(4), (5, 30)).astype(np.float32)
    spread = Spread()
    for table in tables:
        spread.add(table)
    away = tables.astype(np.float64) - tables.astype(np.float64).mean(axis=0)
    assert spread.distance == pytest.approx(np.sqrt((away**2).sum(axis=-1).mean()), rel=1e-12)
    alike = Spread()
    for _ in range(3):
        alike.add(tables[0])
    assert alike.distance == 0


def test_absences_begin_in_order_and_shares_are_drawn_anew() -> None:
    tables = [
        conditions.Absence(of="50%", at=1, seconds=1, every=2),
        conditions.Absence(of="0", at=2),
    ]
    drawn = conditions.absences(tables, 8, 0)
    first = [next(drawn) for _ in range(4)]
    assert [at for at, _, _, _ in first] == [1, 2, 3, 5]
    assert first[1][1:3] == (math.inf, [0])
    assert {len(first[i][2]) for i in (0, 2, 3)} == {4}
    assert len({tuple(first[i][2]) for i in (0, 2, 3)}) > 1


@pytest.mark.parametrize(
    ("of", "chosen"), [("all", [0, 1, 2, 3, 4, 5]), ("0-2,5", [0, 1, 2, 5]), ("3", [3]), ("1,1-2", [1, 2])]
)
def test_devices_are_named_by_number(of: str, chosen: list[int]) -> None:
    assert conditions.choose(of, 6, np.random.default_rng(0)) == chosen


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "impossible.toml"
    path.write_text(
        """
        devices = 5
        topology = "random-regular:3"
        protocol = "no-such"
        board = "pi-9"
        data = "npz:nowhere.npz"
        byzantine = "random:9"
        transport = "mqtt"
        [[links]]
        of = "7"
        [[links]]
        of = "0"
        to = "1"
        uplink = 3
        [[partitions]]
        groups = ["0", "x"]
        at = 1
        seconds = 1
        [[absences]]
        of = "all"
        [[absences]]
        of = "1"
        every = 2
        seconds = 3
        [settings.nobody]
        """
    )
    with pytest.raises(ConfigError) as raised:
        scenarios.read(path, {})
    message = str(raised.value)
    assert message.startswith(f"{path}: 12 problems: ")
    for word in (
        "random-regular:3 is impossible",
        "unknown protocol 'no-such'",
        "unknown board 'pi-9'",
        "nowhere.npz",
        "byzantine 'random:9'",
        "--transport mqtt",
        "links[0].of: '7'",
        "links[1]: uplink",
        "partitions[0].groups: 'x'",
        "absences[0]: nobody would be left",
        "absences[1]: they never come back",
        "settings.nobody",
    ):
        assert word in message


def test_ctrl_c_leaves_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def impatient(self: object, frame: Frame) -> None:
        if frame.latest.round == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("edge_sim.display.Display.__call__", impatient)
    out = tmp_path / "partial.json"
    arguments = ["--devices", "4", "--model", "zoo:mlp:8", "--rounds", "50", "--compare", "isolated"]
    monkeypatch.setattr("sys.argv", ["edge-sim", *arguments, "--json", str(out)])
    assert cli.main() == 130
    outcome = Result.model_validate_json(out.read_text())
    assert outcome.interrupted
    assert [one.round for one in outcome.rounds] == [1, 2, 3]
    assert [line.protocol for line in outcome.comparison] == ["d-distillation"]
    assert "Interrupted after round 3 of 50" in capsys.readouterr().out


@pytest.mark.slow
def test_a_cluster_changes_nothing_and_a_lost_worker_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of Ray's workers on this machine; one dies in round 4, with what it held, and one in round 14."""
    import ray

    changes: dict[str, Any] = {**ROUGH, "rounds": 16}
    clusters: list[on_ray.RayCluster] = []
    populate = on_ray.RayCluster.populate

    def noted(self: on_ray.RayCluster, total: int) -> None:
        clusters.append(self)
        populate(self, total)

    monkeypatch.setattr(on_ray.RayCluster, "populate", noted)

    def murderous(frame: Frame) -> None:
        if frame.latest.round in (4, 14):
            ray.kill(clusters[-1].actors[frame.latest.round // 10], no_restart=True)

    alone = played(**changes)
    spread = run(Scenario(**{**SMALL, **changes, "engine": "ray", "workers": 2}), murderous)
    assert bare(alone) == bare(spread)
    assert clusters[-1].replaced == 2


def test_what_cannot_be_spread_is_refused() -> None:
    with pytest.raises(ConfigError, match="engine: devices of fedgkt"):
        scenarios.read(None, {"engine": "ray", "protocol": "fedgkt", "split_at": "Relu_5", "model": "zoo:mlp:16-8"})
    with pytest.raises(ConfigError, match="leave out mqtt"):
        scenarios.read(None, {"engine": "ray", "transport": "mqtt"})
