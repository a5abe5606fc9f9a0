"""The store of arriving samples."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edge.errors import ConfigError, DataError
from edge.interfaces import Array
from edge.storage.sample_store import FILE, SampleStore


def rows(first: int, count: int) -> Array:
    return np.arange(first, first + count, dtype=np.float32)[:, None]


def test_a_ring_keeps_the_newest(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, "ring:5", (1,))
    assert store.add(rows(0, 4), np.arange(4)) == [1, 2, 3, 4]
    store.add(rows(4, 4), np.arange(4, 8))
    x, y = store.arrays()
    assert x[:, 0].tolist() == y.tolist() == [3, 4, 5, 6, 7]
    store.close()
    again = SampleStore(tmp_path, "ring:5", (1,))
    assert again.arrays()[1].tolist() == [3, 4, 5, 6, 7]
    assert again.add(rows(9, 1), np.array([9])) == [9]  # numbers are never given twice


def test_a_reservoir_keeps_each_with_the_same_probability(tmp_path: Path) -> None:
    counts = np.zeros(20)
    store = SampleStore(tmp_path, "reservoir:5", (1,))
    for _ in range(200):
        store._connection.execute("DELETE FROM samples")
        store._set("seen", "0")
        store.add(rows(0, 20), np.arange(20))
        counts[store.arrays()[1]] += 1
    assert counts.sum() == 1000
    assert np.abs(counts - 50).max() < 5 * np.sqrt(200 * 0.25 * 0.75)  # 5 standard deviations


def test_classes_are_kept_alike(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, "class-balanced:6", (1,))
    store.add(rows(0, 2), np.array([1, 2]))
    store.add(rows(2, 50), np.zeros(50, np.int64))
    store.add(rows(52, 1), np.array([1]))
    _, y = store.arrays()
    assert np.bincount(y).tolist() == [3, 2, 1]


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    now = [100.0]
    store = SampleStore(tmp_path, "by-time:10:3", (1,), now=lambda: now[0])
    store.add(rows(0, 2), np.arange(2))
    now[0] = 105
    store.add(rows(2, 2), np.arange(2, 4))
    assert store.arrays()[1].tolist() == [1, 2, 3]
    now[0] = 112
    assert store.arrays()[1].tolist() == [2, 3]


def test_labels_may_come_later(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, "ring:3", (1,))
    first, second = store.add(rows(0, 2))
    before = store.version
    assert (len(store), store.arrays()[0].shape, len(store.unlabelled())) == (2, (0, 1), 2)
    store.label(second, np.array(4))
    assert store.version > before
    assert [a.tolist() for a in store.arrays()] == [[[1.0]], [4]]
    store.add(rows(5, 3), np.arange(3))
    with pytest.raises(DataError, match=f"no sample {first}: the store keeps 3"):
        store.label(first, np.array(0))


def test_nothing_is_lost_after_sigkill(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; import numpy as np; from pathlib import Path\n"
        "from edge.storage.sample_store import SampleStore\n"
        "store = SampleStore(Path(sys.argv[1]), 'ring:1000', (1,))\n"
        "for i in range(1000):\n"
        "    store.add(np.full((1, 1), i, np.float32), np.array([i])); print(i, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 30:
                os.kill(process.pid, signal.SIGKILL)
                break
        last = max([30, *(int(line) for line in process.stdout if line.endswith("\n"))])
    y = SampleStore(tmp_path, "ring:1000", (1,)).arrays()[1].tolist()
    assert y[: last + 1] == list(range(last + 1))


def test_a_full_disk_is_an_error_and_the_store_stays_readable(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, "ring:1000", (100,))
    store.add(np.ones((3, 100), np.float32), np.arange(3))
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DataError, match=r"full.*make room"):
        store.add(np.ones((200, 100), np.float32), np.zeros(200, np.int64))
    assert store.arrays()[1].tolist() == [0, 1, 2]
    store._connection.execute("PRAGMA max_page_count=100000")
    store.add(np.ones((1, 100), np.float32), np.array([7]))
    assert store.arrays()[1].tolist() == [0, 1, 2, 7]


def test_threads_may_add_and_read(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, "ring:500", (1,))

    def add(first: int) -> None:
        for i in range(first, first + 50):
            store.add(rows(i, 1), np.array([i]))
            store.arrays()

    threads = [threading.Thread(target=add, args=(first,)) for first in (0, 50, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(store.arrays()[1].tolist()) == list(range(150))


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    for policy in ("ring", "ring:0", "ring:5:5", "by-time:5", "stack:5", ""):
        with pytest.raises(ConfigError, match=f"^store '{policy}': expected ring:CAPACITY"):
            SampleStore(tmp_path, policy, (1,))
    SampleStore(tmp_path, "ring:5", (1,)).close()
    with pytest.raises(ConfigError, match=r"holds samples of \[1\].*takes samples of \[2\]"):
        SampleStore(tmp_path, "ring:5", (2,))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match="cannot open the sample store"):
        SampleStore(tmp_path / "broken", "ring:5", (1,))
