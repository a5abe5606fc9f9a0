"""What a device keeps of its rounds beside its checkpoints: metrics.jsonl, one row of telemetry a line, and log.txt.

Both are bounded: a full file is kept until the next one is full. Nothing here can stop the node. A power cut may tear a
line, which `read` skips.
"""

import contextlib
import json
import logging
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TypeVar

LARGEST = 4_000_000
"""Bytes after which a file is full: some 10,000 rounds."""
LONGEST_ROWS = 20_000
"""bytes in which there is a whole row"""
METRICS, METRICS_BEFORE, LOG = "metrics.jsonl", "metrics.before.jsonl", "log.txt"
FILES = (METRICS_BEFORE, METRICS, LOG, f"{LOG}.1")
"""all that a device may have"""
Value = TypeVar("Value")
RENAMED = {
    "missed": "timeouts",
    "waited": "wait_seconds",
    "implausible": "rejected_invalid",
    "doubted": "rejected_by_aggregator",
    "disagreement": "consensus_distance",
    "refused_baseless": "refused_missing_base",
}
"""keys of telemetry of nodes up to the release before this one -> their names now"""


def current_names(row: Mapping[str, Value]) -> dict[str, Value]:
    """A row of telemetry under the names of today, whichever release wrote it.

    >>> current_names({"round": 3.0, "missed": 1.0})
    {'round': 3.0, 'timeouts': 1.0}
    """
    return {RENAMED.get(key, key): value for key, value in row.items()}


def append(folder: Path, row: Mapping[str, float]) -> None:
    """Add the row of one more round; a folder that cannot be written is left alone."""
    path = folder / METRICS
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size > LARGEST:
            path.replace(folder / METRICS_BEFORE)
        with path.open("a") as file:
            file.write(json.dumps(dict(row)) + "\n")


class _Log(RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full card; the other handlers still log the record."""


def log_to(folder: Path) -> None:
    """Log to log.txt in a folder as well, until `close_log`; calling it again changes nothing."""
    root = logging.getLogger()
    if _logs(folder):
        return
    if not root.handlers and logging.lastResort is not None:
        root.addHandler(logging.lastResort)  # prints warnings, but only while it is the only handler
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handler = _Log(folder / LOG, maxBytes=LARGEST // 4, backupCount=1)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)


def close_log(folder: Path) -> None:
    """Log to a folder no more: the node whose log it is has left, and its process may go on."""
    for handler in _logs(folder):
        logging.getLogger().removeHandler(handler)
        handler.close()


def _logs(folder: Path) -> list[logging.Handler]:
    path = str((folder / LOG).absolute())
    return [h for h in logging.getLogger().handlers if isinstance(h, _Log) and h.baseFilename == path]


def read(folder: Path) -> list[dict[str, float]]:
    """Read all rows, oldest first, under the names of today; lines that are not whole are skipped."""
    rows = []
    for name in (METRICS_BEFORE, METRICS):
        if (folder / name).is_file():
            rows += _rows((folder / name).read_bytes())
    return rows


def latest(folder: Path) -> dict[str, float]:
    """Read the row of the round last finished; an empty one before the first."""
    for name in (METRICS, METRICS_BEFORE):
        with contextlib.suppress(OSError), (folder / name).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - LONGEST_ROWS))
            if rows := _rows(file.read()):
                return rows[-1]
    return {}


def _rows(content: bytes) -> list[dict[str, float]]:
    rows = []
    for line in content.decode(errors="replace").replace("\0", "").splitlines():  # ext4, of what a power cut took
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict):
                rows.append(current_names({k: float(v) for k, v in row.items() if isinstance(v, int | float)}))
    return rows
