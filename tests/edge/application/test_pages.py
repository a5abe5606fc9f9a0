"""The Python on the pages about applications is run, from the first block to the last."""

import re
from pathlib import Path

import pytest

from export.cli import main as export

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("page", ["README.md", "docs/application.md"])
def test_the_python_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / page).read_text()
    (command,) = re.findall(r"^edge-export (.*digits-bundle.*)$", text, flags=re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["edge-export", *command.split()])
    assert export() == 0
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(block, names)
    assert (tmp_path / "model.onnx").is_file()
    trainer, digits = names["trainer"], names["digits"]
    assert trainer.evaluate(digits.x_test, digits.y_test)["accuracy"] > 0.85  # type: ignore[attr-defined]
