"""Checkpoints: whole or not at all, the last two kept."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from edge.errors import ConfigError
from edge.storage import checkpoint_files


def values(number: int) -> dict[str, np.ndarray]:
    return {"a": np.full((3, 2), number, np.float32), "b/c": np.arange(number), "none": np.empty((0, 0))}


def test_round_trip_and_two_kept(tmp_path: Path) -> None:
    assert checkpoint_files.read(tmp_path / "new") is None
    for number in (1, 2, 3, 10):
        checkpoint_files.write(tmp_path / "new", number, values(number))
    checkpoint = checkpoint_files.read(tmp_path / "new")
    assert checkpoint is not None
    assert checkpoint[0] == 10
    for key, value in values(10).items():
        np.testing.assert_array_equal(checkpoint[1][key], value)
        assert checkpoint[1][key].dtype == value.dtype
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "round-00000003.safetensors",
        "round-00000010.safetensors",
    ]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 0.99])
def test_a_damaged_one_is_passed_over(share: float, tmp_path: Path) -> None:
    checkpoint_files.write(tmp_path, 1, values(1))
    checkpoint_files.write(tmp_path, 2, values(2))
    path = tmp_path / "round-00000002.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    checkpoint = checkpoint_files.read(tmp_path)
    assert checkpoint is not None
    assert checkpoint[0] == 1


def test_a_place_that_takes_no_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot keep a checkpoint"):
        checkpoint_files.write(tmp_path / "file", 1, values(1))


def _write_for_ever(folder: Path) -> None:
    number = 0
    while True:
        number += 1
        checkpoint_files.write(folder, number, {"a": np.full(50_000, number, np.float32)})


@pytest.mark.slow
def test_killed_at_any_moment_a_whole_one_is_there(tmp_path: Path) -> None:
    """SIGKILL while it writes, many times over; what is read back is always whole."""
    from tests.waiting import eventually

    context = multiprocessing.get_context("spawn")
    last = 0
    for _ in range(6):
        process = context.Process(target=_write_for_ever, args=(tmp_path,))
        process.start()
        assert process.pid is not None
        eventually(lambda: bool(list(tmp_path.glob(".writing-*"))) and checkpoint_files.read(tmp_path) is not None)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        process.close()
        checkpoint = checkpoint_files.read(tmp_path)
        assert checkpoint is not None
        assert (checkpoint[1]["a"] == checkpoint[0]).all()
        last = checkpoint[0]
    checkpoint_files.write(tmp_path, last + 1, values(1))
    assert not list(tmp_path.glob(".writing-*"))  # what the dead left behind is swept up


def test_one_flipped_bit_falls_back_to_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Anywhere in the file: 300 bits, none of which is read back. It is said in one line."""
    for number in (1, 2):
        checkpoint_files.write(tmp_path, number, values(number), {"device": "a"})
    path = tmp_path / "round-00000002.safetensors"
    content = path.read_bytes()
    chance = np.random.default_rng(0)
    for bit in chance.choice(8 * len(content), 300, replace=False):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        caplog.clear()
        checkpoint = checkpoint_files.newest(tmp_path)
        assert checkpoint is not None
        assert checkpoint.number == 1, f"bit {bit}"
        (record,) = caplog.records
        assert f"{path} is damaged" in record.getMessage()


def test_a_checkpoint_of_an_earlier_release_loads(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(values(4), tmp_path / "round-00000004.safetensors", metadata={"version": "1", "round": "4"})
    checkpoint = checkpoint_files.newest(tmp_path)
    assert checkpoint is not None
    assert (checkpoint.number, checkpoint.facts) == (4, {})


def test_facts_come_back(tmp_path: Path) -> None:
    checkpoint_files.write(tmp_path, 1, values(1), {"device": "a", "run": "00000007"})
    checkpoint = checkpoint_files.newest(tmp_path)
    assert checkpoint is not None
    assert checkpoint.facts == {"device": "a", "run": "00000007"}
