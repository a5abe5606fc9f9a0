"""The board's wheel: what is in it, how large it is, and that its metadata are the project's."""

import configparser
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
LARGEST = 400_000
"""bytes; the whole project's wheel has more than twice as many. 350,000 until streams, serving, `edge.ort_training`"""


def project(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return table


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    (path,) = WheelBuilder(str(ROOT / "edge")).build(directory=str(folder), versions=["standard"])
    return Path(path)


def test_it_holds_the_device_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if ".dist-info/" not in name]
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "edge").rglob("*.py")}
    assert set(files) == ours | {"edge/py.typed", "edge/LICENSE"}
    assert wheel.stat().st_size < LARGEST


def test_its_commands_are_those_whose_packages_are_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        commands = configparser.ConfigParser()
        commands.read_string(archive.read(name).decode())
    assert dict(commands["console_scripts"]) == {"edge-node": "edge.cli:main"}


def test_it_is_of_the_same_version_and_needs_the_same(wheel: Path) -> None:
    whole, board = project(ROOT), project(ROOT / "edge")
    assert board["version"] == f"{whole['version']}+board"
    for key in ("name", "license", "requires-python", "dependencies"):
        assert board[key] == whole[key], key
    for name, command in board["scripts"].items():
        assert whole["scripts"][name] == command
    for name, needs in board["optional-dependencies"].items():
        assert whole["optional-dependencies"][name] == needs
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Version"] == board["version"]
    assert set(metadata.get_all("Provides-Extra", [])) == board["optional-dependencies"].keys()


def test_edge_node_runs_from_it(wheel: Path) -> None:
    """Python imports the packages straight from the archive."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); import edge.cli; print(edge.__file__); edge.cli.main()"
    command = [sys.executable, "-c", code, str(wheel), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=wheel.parent)
    assert done.stdout.startswith(str(wheel))
    assert "usage: edge-node" in done.stdout
