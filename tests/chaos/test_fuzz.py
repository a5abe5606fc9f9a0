"""Mutated inputs, a short run of `tests.chaos.fuzz`; a million in the long form."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import LONG


@pytest.mark.parametrize("only", [[], ["--only", "telemetry"]] if LONG else [[]])
def test_mutated_inputs_are_refused_by_name_or_taken(only: list[str]) -> None:
    words = ["--inputs", "1000000" if LONG else "30000", "--seed", "1", *only]
    command = [sys.executable, "-m", "tests.chaos.fuzz", *words]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    for target in only[1:] or ("wire", "telemetry", "configuration", "manifest"):
        assert 0 < result[target]["refused"] < result[target]["inputs"]  # neither all nor none
    print(result)
