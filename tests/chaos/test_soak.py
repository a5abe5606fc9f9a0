"""The soaks: in CI a few kills and rounds, with `make chaos` 200 kills, 20 of the broker, and 5,000 rounds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import LONG

ROOT = Path(__file__).parents[2]
KILLS = ["kills"] if LONG else ["kills", "--kills", "2", "--broker-kills", "1", "--rounds", "25"]
QUIET = ["memory"] if LONG else ["memory", "--rounds", "20"]


@pytest.mark.parametrize("words", [KILLS, [*QUIET, "--hostile", "1000"]] + ([QUIET] if LONG else []), ids=" ".join)
def test_soak(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.soak", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"]
    print(done.stdout)
