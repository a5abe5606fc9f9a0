"""A field test had again: what boards measured is how long devices compute."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ConfigError
from edge_sim import replay
from edge_sim import scenario_files as scenarios
from edge_sim.run import run
from edge_sim.scenario import Scenario


def collected(folder: Path, **devices: list[dict[str, Any]]) -> Path:
    for name, rows in devices.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def rows(busy: float, *numbers: int, wait_seconds: float = 3.0) -> list[dict[str, Any]]:
    return [
        {"round": n, "seconds": busy + wait_seconds, "wait_seconds": wait_seconds, "temperature": 50.0} for n in numbers
    ]


def test_devices_compute_as_long_as_they_did(tmp_path: Path) -> None:
    folder = collected(tmp_path, a=rows(2.0, 1, 2, 3, 4), b=rows(5.0, 1, 2, 3, 4))
    result = run(Scenario(devices=2, model="zoo:mlp:8", rounds=4, replay=str(folder), latency=0.25))
    assert result.virtual_seconds == pytest.approx(4 * 5.0, abs=1.1)  # the slower one's, whose words come meanwhile
    alone = run(Scenario(devices=2, model="zoo:mlp:8", rounds=6, replay=str(folder), protocol="isolated"))
    assert alone.virtual_seconds == pytest.approx(6 * 5.0)  # of rounds without a row, as long as usual


def test_who_left_rounds_out_was_away_for_as_long_as_they_took(tmp_path: Path) -> None:
    folder = collected(tmp_path, a=rows(2.0, 1, 2, 3, 4, 5), b=rows(2.0, 1, 5), c=[*rows(2.0, 1, 2), *rows(4.0, 2, 3)])
    a, b, c = replay.read(folder)
    assert dict(a.rounds) == dict.fromkeys(range(1, 6), 2.0)
    assert dict(b.rounds) == {1: 2.0, 2: 2.0 + 3.0 + 3.0 + 2.0, 5: 2.0}
    assert dict(c.rounds) == {1: 2.0, 2: 4.0, 3: 4.0}


def test_what_cannot_be_replayed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no folder"):
        scenarios.read(None, {"replay": str(tmp_path / "none")})
    folder = collected(tmp_path, a=rows(1.0, 1))
    with pytest.raises(ConfigError, match="rows of 1 devices"):
        scenarios.read(None, {"replay": str(folder)})
    collected(tmp_path, b=rows(1.0, 1))
    with pytest.raises(ConfigError, match="rows of 2 devices, the scenario has 8"):
        scenarios.read(None, {"replay": str(folder)})
    with pytest.raises(ConfigError, match="leave out board"):
        scenarios.read(None, {"replay": str(folder), "devices": 2, "board": "pi-4"})
