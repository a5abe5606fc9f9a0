"""`edge-bench field`: what was collected, and folders that hold nothing of the kind."""

import json
import sys
from pathlib import Path

import pytest

from edge.storage import metrics_log
from edge_bench import cli
from edge_bench.commands import field


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    for name, slope in (("a", 0.01), ("b", 0.02)):
        (tmp_path / "collected" / name).mkdir(parents=True)
        for number in range(1, 31):
            row = {"round": float(number), "accuracy_all": 0.3 + slope * number, "seconds": 2.0, "timeouts": 1.0}
            row |= {"payload_bytes_sent": 1000.0 * number, "temperature": 40.0 + number, "refused_late": 3.0}
            metrics_log.append(tmp_path / "collected" / name, row)
    (tmp_path / "collected" / "empty").mkdir()
    return tmp_path / "collected"


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edge-bench", "field", *words])
    return cli.main()


def test_tables_and_curves(
    collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result, page = tmp_path / "field.json", tmp_path / "field.html"
    assert run(monkeypatch, str(collected), "--json", str(result), "--report", str(page)) == 0
    capsys.readouterr()
    test = field.FieldTest.model_validate_json(result.read_text())
    assert [device.device for device in test.devices] == ["a", "b"]
    first, *pictures = field.sections(test)
    assert first.title == "2 devices, 30 rounds"
    assert [str(cell) for cell in first.rows[0]] == ["a", "30", "0.600", "2.00", "30", "30.0 kB", "70", "", "3"]
    assert [section.name for section in pictures] == ["field-accuracy_all", "field-temperature"]
    text = page.read_text()
    assert "accuracy by round" in text
    assert text.count("<svg") == 2
    assert json.loads(result.read_text())["command"] == "field"
    monkeypatch.setattr(sys, "argv", ["edge-bench", "report", str(result), "--report", str(tmp_path / "again.html")])
    assert cli.main() == 0
    assert (tmp_path / "again.html").read_text().count("<svg") == 2


def test_folders_without_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for folder, complaint in ((tmp_path / "none", "there is no such folder"), (tmp_path, "no folder in it has a")):
        assert run(monkeypatch, str(folder)) == 2
        assert complaint in capsys.readouterr().err
