"""The peers' benchmark: its job, its arithmetic, its meter of memory, and that Murmur and PyTorch do the same job."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.peers import __main__ as peers
from benchmarks.peers.tree import Tree, memory
from edge.errors import ConfigError
from edge.process import descendants
from tests.refusals import refusal
from tests.waiting import eventually

P = 105_866


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["peers", *words])
    return peers.main()


@pytest.fixture
def job(tmp_path: Path) -> Path:
    peers.write_job(None, tmp_path / "job.npz", tmp_path / "public.npz")
    return tmp_path / "job.npz"


def test_a_job_without_anybodys_data(job: Path) -> None:
    with np.load(job) as arrays:
        assert arrays["x_train"].shape == (1000, 1, 28, 28)
        assert arrays["x_train"].dtype == np.float32
        assert 0 <= arrays["x_train"].min() < arrays["x_train"].max() <= 1
        assert set(arrays["client"]) == set(range(10))
        assert len(arrays["y_test"]) > 300


def test_a_job_of_ones_own(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = {name: random.integers(0, 256, (20, 28, 28), np.uint8) for name in ("x", "x_test", "x_pub")}
    labels = {name: np.arange(20) % 10 for name in ("y", "y_test", "client")}
    np.savez(tmp_path / "in.npz", **images, **labels)  # type: ignore[arg-type]
    peers.write_job(tmp_path / "in.npz", tmp_path / "job.npz", tmp_path / "public.npz")
    with np.load(tmp_path / "job.npz") as arrays, np.load(tmp_path / "public.npz") as public:
        np.testing.assert_allclose(arrays["x_test"][:, 0] * 255, images["x_test"], atol=1e-4)
        assert public["x"].shape == (20, 1, 28, 28)
    np.savez(tmp_path / "in.npz", x=images["x"])
    with pytest.raises(ConfigError, match="expected x, y, client, x_test, y_test, x_pub"):
        peers.write_job(tmp_path / "in.npz", tmp_path / "job.npz", tmp_path / "public.npz")


def test_a_tree_of_processes_is_added_up() -> None:
    """A parent and two children that hold 30 MB each; shared pages are counted once in PSS."""
    hold = "x = bytearray(b'1' * 30_000_000); print(flush=True); input()"
    code = (
        "import subprocess, sys\n"
        f"c = [subprocess.Popen([sys.executable, '-c', {hold!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)"
        " for _ in '12']\n"
        "[p.stdout.readline() for p in c]\n"
        "print(flush=True)\n"
        "input()\n"
        "[p.communicate(b'\\n') for p in c]\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        with Tree(parent.pid) as tree:
            eventually(lambda: tree.processes == 3 and tree.proportional > 0)
        assert len(descendants(parent.pid)) == 3
        parent.communicate(b"\n")
    assert 60_000_000 < tree.proportional <= tree.resident < 300_000_000
    assert memory(parent.pid) is None


def account(marks: list[float], accuracy: float) -> tuple[dict[str, Any], Tree]:
    return {"marks": marks, "accuracy": accuracy, "payload_bytes": 12.0}, Tree(0, 10, 20, 3)


def test_updates_and_start_up() -> None:
    """Ten clients in rounds of 2, 1 and 4 seconds after a first of 9: five a second, 7 of start-up."""
    line = peers._line("flower", [account([0, 9, 11, 12, 16], 0.5), account([0, 3, 4, 5, 6], 0.6)])
    assert line.updates_per_second == [5, 10]
    assert line.startup_seconds == [7, 2]
    assert (line.proportional, line.resident, line.processes, line.payload) == ([10, 10], [20, 20], 3, 12)
    mine = line.model_copy(update={"name": "murmur", "updates_per_second": [15.0], "proportional": [5.0]})
    (section,) = peers.sections(peers.Peers(data="digits", rounds=4, lines=[mine, line]))
    assert [str(cell) for cell in section.rows[0][:6]] == ["murmur", "15.0", "2.00", "4.5 s", "5 B", "0.500"]
    assert section.strong == {0}


def test_murmur_does_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.json"
    words = ["--rounds", "2", "--repeats", "1", "--environments", str(tmp_path / "all"), "--json", str(out)]
    assert call(monkeypatch, *words, "--report", str(tmp_path / "out.html"), "murmur") == 0
    (line,) = json.loads(out.read_text())["lines"]
    sizes = 4 * (P + 1) + 2 * 40 + 40  # weights down and up, each with a header, and how many samples they are of
    assert line["payload"] == pytest.approx(2 * (2 * 4 * P), rel=1e-3)
    assert line["payload"] >= 2 * sizes
    assert line["resident"][0] >= line["proportional"][0] > 50e6
    assert (tmp_path / "out.html").read_text().count("<table") == 1


@pytest.mark.oracle
def test_pytorch_does_the_same_job(job: Path) -> None:
    pytest.importorskip("torch")
    worker = Path(peers.__file__).parent / "workers" / "loop.py"
    done = subprocess.run([sys.executable, str(worker), str(job), "2"], check=True, capture_output=True, text=True)
    printed = json.loads(done.stdout)
    assert printed["payload_bytes"] == 2 * 2 * 4 * P
    assert len(printed["marks"]) == 3
    assert printed["accuracy"] > 0.1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["gossip"], "unknown peer 'gossip'; there are: murmur, murmur-2"),
        (["--rounds", "1", "murmur"], "expected two rounds, and one run, or more"),
        (["--data", "none.npz", "murmur"], "--data none.npz: "),
        (["--report", "out.pdf", "murmur"], "--report out.pdf: expected a name that ends in one of: .csv, .html, .md"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaint in refusal(peers.main, "peers", words, monkeypatch, capsys)
