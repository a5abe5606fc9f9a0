"""Measurements in processes of their own: each prints one JSON object."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from edge import process
from edge.command import last_line
from edge.engines import PROBE
from edge.errors import ConfigError

ROOT = Path(__file__).parents[1]
"""the folder that our packages are in"""


def script(path: Path, *words: object) -> Any:
    """Run a Python file of ours, on one thread, and read what it prints.

    Args:
        path: of the file. Its own folder is not searched for modules: they would be found before the library's.
        words: its arguments.

    Returns:
        The JSON value on its standard output.

    Raises:
        ConfigError: it failed; with the last line of what it printed about that.
    """
    packages = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-P", str(path), *map(str, words)]
    return json.loads(output(command, path.stem, environment={**process.single_threaded(), "PYTHONPATH": packages}))


def probe(engine: str, bundle: Path, rows: str, seconds: float) -> dict[str, float]:
    """Time an engine in a fresh process (`edge.engines._probe`). Raises ConfigError: it failed."""
    command = [sys.executable, "-m", PROBE, engine, str(bundle), rows, str(seconds)]
    figures: dict[str, float] = json.loads(output(command, engine))
    return figures


def output(
    command: Sequence[str], name: str, *, folder: Path | None = None, environment: dict[str, str] | None = None
) -> str:
    """Run a program to its end and return its standard output.

    Args:
        command: program and arguments.
        name: what it is called in an error message.
        folder: where it runs; here if absent.
        environment: this process's on one thread if absent.

    Raises:
        ConfigError: it failed; with the last line of what it printed about that.
    """
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment or process.single_threaded(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = shorten(" ".join(command[1:]), 60, placeholder=" ...")
        raise ConfigError(f"{name}: {words} failed: {last_line(done.stderr)}")
    return done.stdout
