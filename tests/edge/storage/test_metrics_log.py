"""The metrics log: rows of earlier releases are read under the names of today."""

import json
from pathlib import Path

from edge.storage import metrics_log

OLD = {"round": 1.0, "missed": 2.0, "waited": 0.5, "implausible": 1.0, "refused_baseless": 3.0, "loss/kd": 0.25}
NEW = {
    "round": 1.0,
    "timeouts": 2.0,
    "wait_seconds": 0.5,
    "rejected_invalid": 1.0,
    "refused_missing_base": 3.0,
    "loss/kd": 0.25,
}


def test_rows_of_the_release_before_are_read_under_the_names_of_today(tmp_path: Path) -> None:
    (tmp_path / metrics_log.METRICS).write_text(json.dumps(OLD) + "\n" + json.dumps({**NEW, "round": 2.0}) + "\n")
    assert metrics_log.read(tmp_path) == [NEW, {**NEW, "round": 2.0}]


def test_names_that_have_not_changed_stay() -> None:
    assert metrics_log.current_names(NEW) == NEW
    assert not set(metrics_log.RENAMED) & set(metrics_log.RENAMED.values())
