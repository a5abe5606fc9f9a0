"""The engines side by side, each in a clean environment of its own, and PyTorch as the outside reference.

One job for all: the small CNN (28x28 images, 20,490 parameters), cross-entropy, SGD, the same batch and start, one
thread.

    installed     all files of an environment with nothing but that engine, in bytes
    first step    from the start of the process to the end of its first step
    peak          resident memory of the process at its highest
    step          median over a burst

Processes take turns, so that a noisy neighbour slows all of them; figures are medians over the rounds.
"""

import json
import statistics
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from edge import bundle as bundles
from edge import process
from edge.engines import PROBE, random_batch
from edge.errors import ConfigError
from edge_bench import worker
from edge_report.finding import Finding, Progress
from export import zoo
from export.write import export

MODEL, SHAPE, SECONDS = "small-cnn", (1, 28, 28), 1.5
REFERENCE = "pytorch"


@dataclass(frozen=True)
class CleanEnvironment:
    """An environment, and what runs in it.

    Attributes:
        extra: of this package, that is installed there.
        packages: whose versions count.
        engine: that runs there; none: PyTorch.
        newest: the last Python that the packages have wheels for.
        official: whether its artifacts can only be made there, by the official training package.
    """

    extra: str
    packages: tuple[str, ...]
    engine: str | None
    newest: tuple[int, int] = (3, 99)
    official: bool = False


CONTENDERS = {
    "onnx-runtime": CleanEnvironment("onnxruntime", ("onnxruntime",), "onnx-runtime"),
    "tflite": CleanEnvironment("tflite", ("ai-edge-litert",), "tflite"),
    "tflite-runtime": CleanEnvironment("tflite-runtime", ("tflite-runtime",), "tflite", (3, 11)),
    "ort-training": CleanEnvironment("ort-training", ("onnxruntime-training-cpu",), "ort-training", (3, 12), True),
    REFERENCE: CleanEnvironment("", ("torch",), None),
}


class EngineRow(BaseModel):
    """One environment; the lists have an entry a round. loss: after 20 steps."""

    name: str
    versions: dict[str, str]
    installed_bytes: int
    step_seconds: list[float]
    first_step_seconds: list[float]
    peak_bytes: list[float]
    loss: float

    def median(self, field: str) -> float:
        """Return the median of one of the lists, or the number itself."""
        value = getattr(self, field)
        return float(statistics.median(value) if isinstance(value, list) else value)


class Engines(Finding):
    """All environments, and the job they did. left_out: name -> why it could not take part."""

    command: str = "engines"
    model: str
    batch: int
    rounds: int
    lines: list[EngineRow]
    left_out: dict[str, str]

    def ratio(self, line: EngineRow, field: str) -> float | None:
        """Return the ratio of a figure to PyTorch's; none if that was not measured."""
        of = next((x for x in self.lines if x.name == REFERENCE), None)
        return None if of is None else line.median(field) / of.median(field)


def measure(
    folder: Path, *, names: Sequence[str] = (), batch: int = 32, rounds: int = 5, progress: Progress = lambda *_: None
) -> Engines:
    """Install the environments, and run the job in them in turns.

    Args:
        folder: in which they are made; those that are there are used as they are.
        names: of CONTENDERS; all that this Python has wheels for if empty.
        batch: rows of a step.
        rounds: processes of each.
        progress: called before each installation and each process.

    Raises:
        ConfigError: an unknown name, or an environment that cannot be made.
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
    arrays = {**random_batch(bundle, batch), **bundle.parameters()}
    np.savez(job / "job.npz", **arrays)  # type: ignore[arg-type]
    for name in chosen:
        progress(done, total, f"installing {name}")
        sizes[name] = _install(name, folder / name)
        commands[name] = _command(name, folder / name, job, batch)
        done += 1
    accounts: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    for _ in range(rounds):
        for name in chosen:
            progress(done, total, name)
            accounts[name].append(json.loads(_run(commands[name], name, folder)))
            done += 1
    return Engines(
        model=MODEL,
        batch=batch,
        rounds=rounds,
        lines=[_row(name, folder / name, sizes[name], accounts[name]) for name in chosen],
        left_out=left_out,
    )


def _row(name: str, home: Path, size: int, rounds: list[dict[str, float]]) -> EngineRow:
    installed = json.loads((home / "versions.json").read_text())
    kept = {"numpy", *CONTENDERS[name].packages}
    return EngineRow(
        name=name,
        versions={k: v for k, v in installed.items() if k in kept},
        installed_bytes=size,
        step_seconds=[r["step_seconds"] for r in rounds],
        first_step_seconds=[r["first_step_seconds"] for r in rounds],
        peak_bytes=[r["peak_bytes"] for r in rounds],
        loss=rounds[0]["loss"],
    )


def _install(name: str, home: Path) -> int:
    """Make the environment, unless it is there, and return its size in bytes."""
    note = home / "installed_bytes"
    if note.is_file():
        return int(note.read_text())
    contender = CONTENDERS[name]
    _run([sys.executable, "-m", "venv", "--without-pip", str(home)], name, home.parent)
    packages = ["torch==2.13.0", "numpy"] if contender.engine is None else [_ourselves(contender.extra)]
    _run([*_pip(home), "install", "--quiet", *packages], name, home.parent)
    size = sum(file.lstat().st_size for file in home.rglob("*") if file.is_file() and not file.is_symlink())
    listed = json.loads(_run([*_pip(home), "list", "--format", "json"], name, home.parent))
    (home / "versions.json").write_text(json.dumps({p["name"].lower(): p["version"] for p in listed}))
    if contender.official:  # what makes its artifacts is not part of its size
        _run([*_pip(home), "install", "--quiet", "onnx==1.16.2", "rich"], name, home.parent)
    note.write_text(str(size))
    return size


def _pip(home: Path) -> list[str]:
    return [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "--disable-pip-version-check"]


def _ourselves(extra: str) -> str:
    """Name this package to pip, from the same source as the one that runs."""
    project = worker.ROOT / "pyproject.toml"
    if project.is_file() and tomllib.loads(project.read_text())["project"]["name"] == "murmur-edge":
        return f"{worker.ROOT}[{extra}]"
    return f"murmur-edge[{extra}]=={version('murmur-edge')}"


def _command(name: str, home: Path, job: Path, batch: int) -> list[str]:
    """Return the command that runs the job there."""
    python, contender, path = str(home / "bin" / "python"), CONTENDERS[name], job / "bundle"
    if contender.engine is None:
        return [python, "-P", str(Path(__file__).with_name("torch_worker.py")), str(job / "job.npz"), str(SECONDS)]
    if contender.official:
        path = job / "official"
        shape = "x".join(map(str, SHAPE))
        _run(
            [python, "-m", "export.cli", f"zoo:{MODEL}", "--shape", shape, "-o", str(path), "--ort-training"], name, job
        )
    bundles.read(path)
    return [python, "-m", PROBE, contender.engine, str(path), str(batch), str(SECONDS)]


def _run(command: list[str], name: str, folder: Path) -> str:
    """Run it outside our own folder, whose packages would be found before the installed ones."""
    environment = process.single_threaded()
    environment.pop("PYTHONPATH", None)
    folder.mkdir(parents=True, exist_ok=True)
    return worker.output(command, name, folder=folder, environment=environment)
