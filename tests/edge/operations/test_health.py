"""What is read about the machine, from a made-up one, and what is kept of it."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.operations import health
from edge.storage import metrics_log


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, content in {
        "sys/class/thermal/thermal_zone0/temp": "41500\n",
        "sys/class/thermal/thermal_zone1/temp": "57250\n",
        "sys/class/thermal/thermal_zone2/temp": "",
        "sys/class/hwmon/hwmon0/in0_lcrit_alarm": "1\n",
        "run/systemd/timesync/clock": "",
        "proc/self/status": "Name:\tpython3\nVmRSS:\t   90000 kB\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_a_board(root: Path) -> None:
    values = health.read(root, root)
    assert values.pop("disk_free_mb") > 0
    assert values == {"temperature": 57.2, "undervoltage": 1.0, "clock_unset": 1.0, "memory_mb": 92.2}
    (root / "run/systemd/timesync/synchronized").touch()
    (root / "sys/class/hwmon/hwmon0/in0_lcrit_alarm").write_text("0\n")
    values = health.read(root, root)
    assert (values["undervoltage"], values["clock_unset"]) == (0.0, 0.0)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    assert health.read(tmp_path / "gone", tmp_path) == {}


def test_history_is_bounded_and_survives_torn_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_log, "LARGEST", 100)
    for number in range(20):
        metrics_log.append(tmp_path, {"round": float(number), "loss": 0.5})
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 300
    rows = metrics_log.read(tmp_path)
    assert [row["round"] for row in rows] == [float(n) for n in range(20 - len(rows), 20)]
    with (tmp_path / metrics_log.METRICS).open("a") as file:
        file.write('{"round": 2')
    assert metrics_log.read(tmp_path) == rows
    (tmp_path / metrics_log.METRICS).write_bytes(bytes(100) + b'{"round": 20.0, "loss": 0.5}\n')
    assert metrics_log.read(tmp_path)[-1] == {"round": 20.0, "loss": 0.5}
    metrics_log.append(tmp_path / "gone", {"round": 1.0})


@pytest.fixture
def handlers() -> Iterator[list[logging.Handler]]:
    root = logging.getLogger()
    before = list(root.handlers)
    yield root.handlers
    for handler in set(root.handlers) - set(before):
        root.removeHandler(handler)
        handler.close()


def test_the_log_is_kept_once(tmp_path: Path, handlers: list[logging.Handler]) -> None:
    before = len(handlers)
    metrics_log.log_to(tmp_path)
    metrics_log.log_to(tmp_path)
    assert len(handlers) == before + 1
    logging.getLogger("edge.test").warning("something")
    assert (tmp_path / metrics_log.LOG).read_text().count("WARNING edge.test: something") == 1


def test_warnings_are_still_said(tmp_path: Path) -> None:
    """On stderr, where they go as long as nobody handles them otherwise."""
    code = f"""
import logging
import subprocess
import sys
from pathlib import Path
from edge.storage import metrics_log
metrics_log.log_to(Path({str(tmp_path)!r}))
logging.getLogger("edge.test").warning("the card is full")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "the card is full\n"
