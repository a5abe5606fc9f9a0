"""The structure stays within its bounds; and each measure sees what it is there to see."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import architecture

PYPROJECT = """
[tool.importlinter]
root_packages = ["lower_room", "upper_room"]

[[tool.importlinter.contracts]]
name = "floors"
type = "layers"
layers = ["upper_room", "lower_room"]
ignore_imports = ["lower_room.a -> upper_room.b"]

[[tool.importlinter.contracts]]
name = "rooms"
type = "layers"
containers = ["lower_room"]
layers = ["a", "c | d"]
"""

FILES = {
    "lower_room/__init__.py": "",
    "lower_room/a.py": "from lower_room import c\nPACKAGE = 'upper_room.b'\ndef f(found):\n    return c._hidden\n",
    "lower_room/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lower_room.d import Thing\n",
    "lower_room/d.py": "class Thing:\n    said: int\ndef g():\n    from lower_room import a, c\n    return a, c\n",
    "lower_room/_own.py": "VALUE = 1\n",
    "upper_room/__init__.py": "",
    "upper_room/b.py": "from lower_room._own import VALUE\nfrom lower_room.d import _thing\nclass Thing: ...\n",
    "tests/test_it.py": "made = 1\n" + "pass\n" * 20,
}


@pytest.mark.parametrize("figure", architecture.figures(), ids=lambda figure: figure.name)
def test_bounds(figure: architecture.Figure) -> None:
    assert figure.holds, f"{figure.name}: {figure.value} of at most {figure.bound}; {' | '.join(figure.examples)}"


def test_every_measure_sees_what_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert {figure.name: figure.examples for figure in architecture.figures(tmp_path)} == {
        "floors": ("lower_room", "upper_room"),
        "upward imports": ("lower_room.a -> upper_room.b", "lower_room.d -> lower_room.a"),
        "circles": ("lower_room.a - lower_room.c - lower_room.d",),
        "ignored imports": ("lower_room.a -> upper_room.b",),
        "private imports": (
            "lower_room.a -> lower_room.c._hidden",
            "upper_room.b -> lower_room._own",
            "upper_room.b -> lower_room.d._thing",
        ),
        "duplicate classes": ("Thing: lower_room.d, upper_room.b",),
        "participles": ("lower_room/a.py:3 found", "lower_room/d.py:2 said", "tests/test_it.py:1 made"),
        "longest file": ("tests/test_it.py",),
    }


def test_json_names_every_place_and_the_exit_code_says_whether_the_bounds_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.architecture", "--json"],
        cwd=architecture.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    rows = json.loads(done.stdout)
    assert {row["name"] for row in rows} == architecture.BOUNDS.keys()
    assert done.returncode == (0 if all(row["holds"] for row in rows) else 1)
