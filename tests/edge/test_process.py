"""What this process is told about itself, and the environment of its children."""

import os
import sys
import time
from pathlib import Path

import pytest

from edge import process


def test_memory_of_a_process(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text("Name:\tVmRSS: python\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n")
    assert process.memory("VmRSS", tmp_path) == 1024 * 1024
    assert process.memory("VmHWM", tmp_path) == 2048 * 1024
    with pytest.raises(ValueError, match="no line VmSwap"):
        process.memory("VmSwap", tmp_path)
    with pytest.raises(OSError, match="proc/self/status"):
        process.memory("VmRSS", tmp_path / "elsewhere")


def test_start_of_a_process(tmp_path: Path) -> None:
    """By field 22 of stat(5); the name in field 2 may have spaces and brackets."""
    (tmp_path / "proc/self").mkdir(parents=True)
    fields = " ".join(["S", *map(str, range(4, 22)), str(5 * os.sysconf("SC_CLK_TCK")), "0"])
    (tmp_path / "proc/self/stat").write_text(f"7 (a ) name) {fields}\n")
    assert process.started(tmp_path) == 5.0
    if sys.platform == "linux":
        assert 0 < process.started() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_children_use_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("KEPT", "yes")
    environment = process.single_threaded()
    assert {environment[name] for name in process.THREAD_POOLS} == {"1"}
    assert environment["KEPT"] == "yes"
    assert os.environ["OMP_NUM_THREADS"] == "8"
