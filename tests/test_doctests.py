"""The examples in docstrings are run, and every package that people import or extend has one."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("edge", "edge_sim", "edge_report", "edge_bench", "export", "broker", "firmware_scripts")
BARE = ("firmware_scripts.system",)
"""what is copied to a board, and imported by nobody"""


def module_name(path: Path) -> str:
    """Of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


EXAMPLES = sorted(
    module_name(path) for name in PACKAGES for path in (ROOT / name).rglob("*.py") if ">>> " in path.read_text()
)
"""Only these are imported: other modules may need a runtime that is not installed."""
FOLDERS = sorted(module_name(path) for name in PACKAGES for path in (ROOT / name).rglob("__init__.py"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(import_module(name), optionflags=doctest.FAIL_FAST)
    assert outcome.attempted
    assert not outcome.failed


@pytest.mark.parametrize("package", [name for name in FOLDERS if name not in BARE])
def test_every_package_has_an_example(package: str) -> None:
    assert any(name == package or name.rpartition(".")[0] == package for name in EXAMPLES)
