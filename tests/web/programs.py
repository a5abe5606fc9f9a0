"""Node.js as `make web` sets it up, and folders as the recipes want them."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
PACKAGES = WEB / "node_modules"
NODE = ROOT / ".venv-web" / "bin" / "node"


def node(script: Path, *words: str | Path) -> str:
    """Run a script that succeeds, and return what it prints."""
    outcome = _run(script, *words)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


def refused(script: Path, *words: str | Path) -> str:
    """Run a script that fails, and return its complaint."""
    outcome = _run(script, *words)
    assert outcome.returncode == 1
    return outcome.stderr


def _run(script: Path, *words: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([NODE, script, *words], capture_output=True, text=True, timeout=120, check=False)


def beside(folder: Path, *files: Path) -> Path:
    """Copy files into a folder that has the packages of npm, as somebody who follows a recipe does."""
    folder.mkdir()
    for file in (*files, *sorted(WEB.glob("*.mjs"))):
        shutil.copy(file, folder)
    (folder / PACKAGES.name).symlink_to(PACKAGES)
    return folder
