"""Samples that arrive while a device runs: bounded, in one SQLite file, whole after a crash.

Who adds a sample has it on disk when the call returns: the end of the process, SIGKILL included, loses nothing. A power
cut may lose the last additions (SQLite in WAL mode with synchronous=NORMAL), never the file. What is kept of more
samples than there is room for is a policy (`edge.storage.retention`). Where a stream goes on (`Marks`) is kept in the
same transaction as its samples, so that none is lost or added twice. Several processes may have the file open.
"""

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import ConfigError, DataError
from edge.interfaces import Array
from edge.storage.retention import parse

FILE = "samples.sqlite"
TABLES = """
CREATE TABLE IF NOT EXISTS samples (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, x BLOB NOT NULL, y BLOB);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS names (name TEXT PRIMARY KEY, sample INTEGER NOT NULL UNIQUE) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS forgotten AFTER DELETE ON samples BEGIN DELETE FROM names WHERE sample = old.id; END;
CREATE TABLE IF NOT EXISTS marks (
    stream TEXT, name TEXT, value TEXT NOT NULL, PRIMARY KEY (stream, name)
) WITHOUT ROWID;
"""
OLDEST = "DELETE FROM samples WHERE id IN (SELECT id FROM samples ORDER BY id LIMIT ?)"
AT_PLACE = "SELECT id FROM samples ORDER BY id LIMIT 1 OFFSET ?"
OLDEST_OF_LARGEST = """
DELETE FROM samples WHERE id = (SELECT min(id) FROM samples WHERE y IS
    (SELECT y FROM samples GROUP BY y ORDER BY count(*) DESC, max(id) DESC LIMIT 1))
"""


@dataclass(frozen=True)
class Marks:
    """What a stream wants to know when it goes on.

    Attributes:
        stream: its name.
        values: what is to be kept, by name; None to forget it.
    """

    stream: str
    values: Mapping[str, str | None]


class SampleStore:
    """A bounded store; calls may come from any thread.

    Args:
        folder: is created if it is missing; the file in it is `FILE`.
        policy: e.g. "ring:1000" (`edge.storage.retention`).
        shape: of a sample.
        label_shape: of a label.
        label_dtype: of a label, "int64" or "float32".
        now: the time, in seconds since 1970.

    Raises:
        ConfigError: there is no such policy, the file is of other samples, or it cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        policy: str,
        shape: Sequence[int],
        label_shape: Sequence[int] = (),
        label_dtype: str = "int64",
        now: Callable[[], float] = time.time,
    ) -> None:
        self.policy, self.capacity, self._seconds = parse(policy)
        self.path = folder / FILE
        self._shape, self._label_shape, self._label_dtype = tuple(shape), tuple(label_shape), label_dtype
        self._now, self._lock, self._random = now, threading.Lock(), random.Random(0)
        self._arrays: tuple[int, tuple[Array, Array]] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.executescript(TABLES)
            self._claim(f"samples of {list(self._shape)}, labels of {list(self._label_shape)} {label_dtype}")
        except (OSError, sqlite3.Error) as reason:
            raise ConfigError(f"cannot open the sample store {self.path}: {reason}") from None

    @property
    def version(self) -> int:
        """Grows whenever a sample with a label comes, whichever process adds it."""
        with self._lock:
            return int(self._get("version") or 0)

    def add(
        self, x: Array, y: Array | None = None, ids: Sequence[str] | None = None, marks: Marks | None = None
    ) -> list[int]:
        """Add samples, all or none, and drop what the policy says.

        Args:
            x: (n, ...) float32.
            y: (n, ...) labels; None if they come later or never.
            ids: names of somebody else's for the samples, by which labels may follow; a sample whose name is here
                already is not added again, but for its label.
            marks: where the stream that they are from goes on.

        Returns:
            The number of each, by which a label may follow.

        Raises:
            DataError: the disk is full or the file cannot be written; the store is as it was.
        """
        labels: list[bytes | None] = (
            [None] * len(x) if y is None else [np.asarray(v, self._label_dtype).tobytes() for v in y]
        )
        with self._lock, self._transaction() as connection:
            if self._seconds:
                connection.execute("DELETE FROM samples WHERE at < ?", (self._now() - self._seconds,))
            (count,) = connection.execute("SELECT count(*) FROM samples").fetchone()
            seen = int(self._get("seen") or 0)
            numbers = []
            names: Sequence[str | None] = ids or [None] * len(x)
            for sample, label, name in zip(x, labels, names, strict=True):
                if name is not None and (known := self._named(name)) is not None:
                    numbers.append(known)
                    if label is not None:
                        connection.execute("UPDATE samples SET y = ? WHERE id = ?", (label, known))
                    continue
                seen += 1
                numbers.append(self._insert(np.asarray(sample, np.float32).tobytes(), label))
                if name is not None:
                    connection.execute("INSERT INTO names VALUES (?, ?)", (name, numbers[-1]))
                if (count := count + 1) > self.capacity:
                    count -= self._drop(numbers[-1], seen, count)
            self._set("seen", str(seen))
            if y is not None and len(x):
                self._changed()
            if marks is not None:
                self._mark(marks)
        return numbers

    def marks(self, stream: str) -> dict[str, str]:
        """Return what is kept for a stream, by name."""
        with self._lock:
            rows = self._connection.execute("SELECT name, value FROM marks WHERE stream = ?", (stream,)).fetchall()
        return dict(rows)

    def label(self, number: int, y: Array) -> None:
        """Add the label of a sample that came without, or correct it.

        Args:
            number: of the sample, as `add` gave it.
            y: the label.

        Raises:
            DataError: the sample is not kept any more, or the file cannot be written.
        """
        value = np.asarray(y, self._label_dtype).tobytes()
        with self._lock, self._transaction() as connection:
            cursor = connection.execute("UPDATE samples SET y = ? WHERE id = ?", (value, number))
            if not cursor.rowcount:
                raise DataError(
                    f"there is no sample {number}: the store keeps {self.capacity} ({self.policy}), and it was dropped "
                    "or never added; label sooner, or raise the capacity"
                )
            self._changed()

    def label_named(self, ids: Sequence[str], y: Array, marks: Marks | None = None) -> int:
        """Add or correct labels of samples that were added under names.

        Args:
            ids: their names.
            y: (n, ...) labels.
            marks: where the stream that they are from goes on.

        Returns:
            How many of the samples are kept; the labels of the others are dropped.

        Raises:
            DataError: the file cannot be written.
        """
        count = 0
        with self._lock, self._transaction() as connection:
            for name, label in zip(ids, y, strict=True):
                value = np.asarray(label, self._label_dtype).tobytes()
                update = "UPDATE samples SET y = ? WHERE id = (SELECT sample FROM names WHERE name = ?)"
                count += connection.execute(update, (value, name)).rowcount
            if count:
                self._changed()
            if marks is not None:
                self._mark(marks)
        return count

    def __len__(self) -> int:
        with self._lock:
            (count,) = self._connection.execute("SELECT count(*) FROM samples").fetchone()
        return int(count)

    def arrays(self) -> tuple[Array, Array]:
        """Return the samples (n, ...) float32 that have a label, oldest first, and the labels (n, ...)."""
        with self._lock:
            version = int(self._get("version") or 0)  # before the samples, which another process may add
            if self._arrays is None or self._arrays[0] != version or self._seconds:
                oldest = self._now() - self._seconds if self._seconds else 0.0
                query = "SELECT x, y FROM samples WHERE y IS NOT NULL AND at >= ? ORDER BY id"
                rows = self._connection.execute(query, (oldest,)).fetchall()
                x = np.frombuffer(b"".join(row[0] for row in rows), np.float32).reshape(len(rows), *self._shape)
                y = np.frombuffer(b"".join(row[1] for row in rows), self._label_dtype)
                self._arrays = version, (x, y.reshape(len(rows), *self._label_shape))
            return self._arrays[1]

    def unlabelled(self) -> Array:
        """Return the samples (n, ...) float32 that have no label yet, oldest first."""
        with self._lock:
            rows = self._connection.execute("SELECT x FROM samples WHERE y IS NULL ORDER BY id").fetchall()
        return np.frombuffer(b"".join(row[0] for row in rows), np.float32).reshape(len(rows), *self._shape)

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._lock:
            self._connection.close()

    def _insert(self, x: bytes, y: bytes | None) -> int:
        cursor = self._connection.execute("INSERT INTO samples (at, x, y) VALUES (?, ?, ?)", (self._now(), x, y))
        return int(cursor.lastrowid or 0)

    def _drop(self, newest: int, seen: int, count: int) -> int:
        """Make room after sample `newest`, the `seen`-th that came, made it `count`; how many were dropped."""
        connection = self._connection
        if self.policy == "reservoir":
            place = self._random.randrange(seen)
            if place < self.capacity:
                (newest,) = connection.execute(AT_PLACE, (place,)).fetchone()
            return connection.execute("DELETE FROM samples WHERE id = ?", (newest,)).rowcount
        if self.policy == "class-balanced":
            return connection.execute(OLDEST_OF_LARGEST).rowcount
        return connection.execute(OLDEST, (count - self.capacity,)).rowcount

    def _named(self, name: str) -> int | None:
        row = self._connection.execute("SELECT sample FROM names WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def _changed(self) -> None:
        self._set("version", str(int(self._get("version") or 0) + 1))

    def _mark(self, marks: Marks) -> None:
        for name, value in marks.values.items():
            if value is None:
                self._connection.execute("DELETE FROM marks WHERE stream = ? AND name = ?", (marks.stream, name))
            else:
                self._connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?)", (marks.stream, name, value))

    def _claim(self, content: str) -> None:
        """Note what the file is for. Raises ConfigError: it is for something else."""
        known = self._get("content") or content
        if known != content:
            raise ConfigError(
                f"{self.path} holds {known}; the model takes {content}: remove it, or name another folder"
            )
        self._set("content", content)

    def _get(self, name: str) -> str | None:
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _set(self, name: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def _transaction(self) -> "_Transaction":
        return _Transaction(self._connection, self.path)


class _Transaction:
    """All that happens within it, or nothing."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self._path = connection, path

    def __enter__(self) -> sqlite3.Connection:
        self._run("BEGIN IMMEDIATE")
        return self._connection

    def __exit__(self, kind: Any, reason: Any, _: Any) -> None:
        if kind is None:
            self._run("COMMIT")
            return
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        if isinstance(reason, sqlite3.Error):
            raise self._refusal(reason) from None

    def _run(self, statement: str) -> None:
        try:
            self._connection.execute(statement)
        except sqlite3.Error as reason:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise self._refusal(reason) from None

    def _refusal(self, reason: Exception) -> DataError:
        return DataError(
            f"cannot keep samples in {self._path}: {reason}; those before are kept: make room, and try again"
        )
