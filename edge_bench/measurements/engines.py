"""The engines side by side, each in a clean environment of its own, and PyTorch as the outside reference.

One job for all: the small CNN (28x28 images, 20,490 parameters), cross-entropy, SGD, the same batch and start, one
thread.

    installed     all files of an environment with nothing but that engine, in bytes
    first step    from the start of the process to the end of its first step
    peak          resident memory of the process at its highest
    step          median over a burst

Processes take turns, so that a noisy neighbour slows all; figures are medians over the rounds.
"""

import json
import os
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from edge import bundle as bundles
from edge.command import last_line
from edge.engines._probe import random_batch
from edge.errors import ConfigError
from edge_report.finding import Finding, Progress
from export import zoo
from export.write import export

MODEL, SHAPE, SECONDS = "small-cnn", (1, 28, 28), 1.5
REFERENCE = "pytorch"


@dataclass(frozen=True)
class Contender:
    """An environment: what is installed in it, and the engine that runs there (none: PyTorch)."""

    extra: str
    packages: tuple[str, ...]
    engine: str | None
    newest: tuple[int, int] = (3, 99)
    """the last Python its packages have wheels for"""


CONTENDERS = {
    "onnx-runtime": Contender("onnxruntime", ("onnxruntime",), "onnx-runtime"),
    "tflite": Contender("tflite", ("ai-edge-litert",), "tflite"),
    "tflite-runtime": Contender("tflite-runtime", ("tflite-runtime",), "tflite", (3, 11)),
    "ort-training": Contender("ort-training", ("onnxruntime-training-cpu",), "ort-training", (3, 12)),
    REFERENCE: Contender("", ("torch",), None),
}


class Line(BaseModel):
    """One environment; an entry a round in the lists. loss: after 20 steps."""

    name: str
    versions: dict[str, str]
    installed_bytes: int
    step_seconds: list[float]
    first_step_seconds: list[float]
    peak_bytes: list[float]
    loss: float

    def median(self, what: str) -> float:
        """Of one of the lists, or the number itself."""
        value = getattr(self, what)
        return float(statistics.median(value) if isinstance(value, list) else value)


class Engines(Finding):
    """All of them, and the job they did."""

    command: str = "engines"
    model: str
    batch: int
    rounds: int
    lines: list[Line]
    left_out: dict[str, str]
    """name -> why it could not take part"""

    def ratio(self, line: Line, what: str) -> float | None:
        """To PyTorch, if that was measured."""
        of = next((x for x in self.lines if x.name == REFERENCE), None)
        return None if of is None else line.median(what) / of.median(what)


def measure(
    folder: Path, *, names: Sequence[str] = (), batch: int = 32, rounds: int = 5, progress: Progress = lambda *_: None
) -> Engines:
    """Make the environments in `folder` (those that are there are used as they are), and run them in turns.

    Raises ConfigError: an unknown name, or an environment that cannot be made.
    """
    if unknown := sorted(set(names) - CONTENDERS.keys()):
        raise ConfigError(f"unknown engine '{unknown[0]}'; there are: {', '.join(CONTENDERS)}")
    left_out = {
        name: f"no wheels for Python {sys.version_info[0]}.{sys.version_info[1]}"
        for name in names or CONTENDERS
        if sys.version_info[:2] > CONTENDERS[name].newest
    }
    chosen = [name for name in names or CONTENDERS if name not in left_out]
    total, done = len(chosen) * (1 + rounds), 0
    sizes: dict[str, int] = {}
    commands: dict[str, list[str]] = {}
    job = folder / "job"
    bundle = export(zoo.build(MODEL, shape=SHAPE, classes=10), job / "bundle", rows=(batch,))
    given = {**random_batch(bundle, batch), **bundle.parameters()}
    np.savez(job / "job.npz", **given)  # type: ignore[arg-type]
    for name in chosen:
        progress(done, total, f"installing {name}")
        sizes[name] = _install(name, folder / name)
        commands[name] = _command(name, folder / name, job, batch)
        done += 1
    found: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    for _ in range(rounds):
        for name in chosen:
            progress(done, total, name)
            found[name].append(json.loads(_run(commands[name], name, folder)))
            done += 1
    return Engines(
        model=MODEL,
        batch=batch,
        rounds=rounds,
        lines=[_line(name, folder / name, sizes[name], found[name]) for name in chosen],
        left_out=left_out,
    )


def _line(name: str, home: Path, size: int, rounds: list[dict[str, float]]) -> Line:
    said = json.loads((home / "versions.json").read_text())
    kept = {"numpy", *CONTENDERS[name].packages}
    return Line(
        name=name,
        versions={k: v for k, v in said.items() if k in kept},
        installed_bytes=size,
        step_seconds=[r["step_seconds"] for r in rounds],
        first_step_seconds=[r["first_step_seconds"] for r in rounds],
        peak_bytes=[r["peak_bytes"] for r in rounds],
        loss=rounds[0]["loss"],
    )


def _install(name: str, home: Path) -> int:
    """Make the environment, once; its size in bytes."""
    note = home / "installed_bytes"
    if note.is_file():
        return int(note.read_text())
    contender = CONTENDERS[name]
    _run([sys.executable, "-m", "venv", "--without-pip", str(home)], name, home.parent)
    wanted = ["torch==2.13.0", "numpy"] if contender.engine is None else [_ourselves(contender.extra)]
    _run([*_pip(home), "install", "--quiet", *wanted], name, home.parent)
    size = sum(file.lstat().st_size for file in home.rglob("*") if file.is_file() and not file.is_symlink())
    listed = json.loads(_run([*_pip(home), "list", "--format", "json"], name, home.parent))
    (home / "versions.json").write_text(json.dumps({p["name"].lower(): p["version"] for p in listed}))
    if name == "ort-training":  # its artifacts can be made there only; this is not part of its size
        _run([*_pip(home), "install", "--quiet", "onnx==1.16.2", "rich"], name, home.parent)
    note.write_text(str(size))
    return size


def _pip(home: Path) -> list[str]:
    return [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "--disable-pip-version-check"]


def _ourselves(extra: str) -> str:
    """This package, from the same source as the one that runs."""
    root = Path(__file__).parents[2]
    project = root / "pyproject.toml"
    if project.is_file() and tomllib.loads(project.read_text())["project"]["name"] == "murmur-edge":
        return f"{root}[{extra}]"
    return f"murmur-edge[{extra}]=={version('murmur-edge')}"


def _command(name: str, home: Path, job: Path, batch: int) -> list[str]:
    """What runs the job there."""
    python, contender, path = str(home / "bin" / "python"), CONTENDERS[name], job / "bundle"
    if contender.engine is None:
        return [python, str(Path(__file__).with_name("torch_worker.py")), str(job / "job.npz"), str(SECONDS)]
    if name == "ort-training":
        path = job / "official"
        shape = "x".join(map(str, SHAPE))
        _run(
            [python, "-m", "export.cli", f"zoo:{MODEL}", "--shape", shape, "-o", str(path), "--ort-training"], name, job
        )
    bundles.read(path)
    return [python, "-m", "edge.engines._probe", contender.engine, str(path), str(batch), str(SECONDS)]


def _run(command: list[str], name: str, where: Path) -> str:
    """Standard output. Not from our own folder, whose packages would be found before the installed ones."""
    pinned = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    pinned.pop("PYTHONPATH", None)
    where.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, cwd=where, env=pinned, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{name}: {' '.join(command[1:4])} ... failed: {last_line(done.stderr)}")
    return done.stdout
