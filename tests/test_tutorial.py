"""The tutorial of three sensors is played: they learn, one is killed and comes back, and the models come out."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime  # noqa: TID251 - as another program would load the file
import pytest

from broker import embedded
from export import cli

TUTORIAL = Path(__file__).parent.parent / "docs" / "tutorial"
NAMES = ("anna", "ben", "cleo")


def accuracy(process: "subprocess.Popen[str]", least: float) -> float:
    """Read what a device says until it is that good."""
    assert process.stdout is not None
    for line in process.stdout:
        if float(line.split()[1]) >= least:
            return float(line.split()[1])
    raise AssertionError(f"it ended with {process.wait()}")


def test_three_sensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (TUTORIAL / "sensor.py").read_text()
    assert sum(bool(line.strip()) for line in code.split('"""', 2)[2].splitlines()) <= 60
    (command,) = re.findall(r"^edge-export (.*)$", (TUTORIAL.parent / "tutorial.md").read_text(), flags=re.MULTILINE)
    words = [str(tmp_path / word) if word == "activity-bundle" else word for word in command.split()]
    monkeypatch.setattr("sys.argv", ["edge-export", *words])
    assert cli.main() == 0
    run = [sys.executable, "-W", "error", str(TUTORIAL / "sensor.py")]
    subprocess.run([*run, "reference"], cwd=tmp_path, check=True)
    with embedded.running() as broker:

        def start(name: str) -> "subprocess.Popen[str]":
            return subprocess.Popen([*run, name, broker.url], cwd=tmp_path, stdout=subprocess.PIPE, text=True)

        processes = {name: start(name) for name in NAMES}
        try:
            accuracy(processes["anna"], 0.6)
            processes["ben"].send_signal(signal.SIGKILL)
            processes["ben"].communicate()
            assert processes["ben"].returncode == -signal.SIGKILL
            processes["ben"] = start("ben")
            for name in NAMES:
                assert accuracy(processes[name], 0.9) >= 0.9
            for process in processes.values():
                process.send_signal(signal.SIGTERM)
            for process in processes.values():
                process.communicate(timeout=30)
                assert process.returncode == 0
        finally:
            for process in processes.values():
                process.kill()
                process.communicate()
    for name in NAMES:
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        assert session.run(["probabilities"], {"x": np.zeros((2, 3, 32), np.float32)})[0].shape == (2, 3)
