"""SIGKILL at random points, resumption, and the same bits as if nothing had happened."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import LONG

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("protocol", "coding", "kills"),
    [
        ("d-distillation", "delta:15", 500 if LONG else 15),
        ("d-distillation", "simplex:8", 100 if LONG else 5),
        ("multi-headed-distillation", "delta:24", 100 if LONG else 5),
        ("dynamic-averaging", "simplex:8", 100 if LONG else 5),
        ("federated-distillation", "simplex:8", 100 if LONG else 5),
        ("d-psgd", "simplex:8", 100 if LONG else 5),
    ],
)
def test_a_killed_fleet_comes_out_bit_for_bit_the_same(protocol: str, coding: str, kills: int) -> None:
    words = ["--protocol", protocol, "--coding", coding, "--kills", str(kills)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.killed_fleet", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["different"] == 0
    assert sum(result["kills"].values()) >= kills
    print(result)
