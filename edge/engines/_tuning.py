"""Which options of ONNX Runtime suit this device: a short trial, each candidate in a process of its own.

The result is kept in the device's home and holds for this bundle, this runtime and this number of cores.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import onnxruntime as ort  # noqa: TID251 - only its version

from edge.bundle import Bundle
from edge.command import last_line
from edge.engines import PROBE
from edge.engines._session import Options
from edge.errors import EngineError
from edge.interfaces import Trial
from edge.storage import atomic

FILE = "tuned.json"
ENGINE = "onnx-runtime"
"""whose options these are"""
CLOSE = 1.05
"""Times within this factor of the fastest are as good; of those, the one with the least memory is taken."""
SECONDS = 1.0
"""of steps, in one trial"""


def tune(bundle: Bundle, home: Path, rows: tuple[int, ...], report: Callable[[Trial], None]) -> list[Trial]:
    """Try candidates on batches of `rows` (private, and reference if any), keep the best in `home`; it comes first.

    report: called with every trial as it ends.

    Raises:
        EngineError: a candidate cannot run, or the result cannot be written.
    """
    cores = len(os.sched_getaffinity(0))
    candidates = [Options()]
    candidates += [Options(threads=n, spinning=s) for n in range(2, cores + 1) for s in (False, True)]
    trials = _tried(bundle, candidates, rows, report)
    quick = Options(**best(trials).options)
    memory = [Options(quick.threads, quick.spinning, *choice) for choice in ((True, True), (False, False))]
    trials += _tried(bundle, memory, rows, report)
    chosen = best(trials)
    text = json.dumps({"options": chosen.options, "of": _of(bundle)}, indent=1)
    try:
        home.mkdir(parents=True, exist_ok=True)
        atomic.write_text(home / FILE, text + "\n")
    except OSError as reason:
        raise EngineError(f"cannot write {home / FILE}: {reason.strerror}") from None
    return sorted(trials, key=lambda t: t is not chosen)


def _tried(
    bundle: Bundle, candidates: list[Options], rows: tuple[int, ...], report: Callable[[Trial], None]
) -> list[Trial]:
    """Every candidate twice, the second time in the opposite order: of a disturbed trial only the other counts."""
    once: list[Trial] = []
    twice: list[Trial] = []
    for results, options in ((once, candidates), (twice, candidates[::-1])):
        for choice in options:
            results.append(_trial(bundle, choice, rows))
            report(results[-1])
    return [min(pair, key=lambda t: t.step_seconds) for pair in zip(once, twice[::-1], strict=True)]


def best(trials: list[Trial]) -> Trial:
    """The least memory among those about as fast as the fastest; the first of equals."""
    fastest = min(t.step_seconds for t in trials)
    return min((t for t in trials if t.step_seconds <= fastest * CLOSE), key=lambda t: t.peak_bytes)


def tuned(bundle: Bundle, home: Path) -> Options | None:
    """What `tune` kept in this home, if it was for this bundle, runtime and machine."""
    try:
        kept = json.loads((home / FILE).read_text())
        return Options(**kept["options"]) if kept["of"] == _of(bundle) else None
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not ours: the defaults do
        return None


def _of(bundle: Bundle) -> dict[str, str | int]:
    cores = len(os.sched_getaffinity(0))
    return {"train": bundle.manifest.digests["train.onnx"], "onnxruntime": ort.__version__, "cores": cores}


def _trial(bundle: Bundle, options: Options, rows: tuple[int, ...]) -> Trial:
    command = [sys.executable, "-m", PROBE, ENGINE, str(bundle.path)]
    command += [",".join(map(str, rows)), str(SECONDS), json.dumps(asdict(options))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = last_line(done.stderr)
        raise EngineError(f"a trial with {options} failed: {last}")
    costs = json.loads(done.stdout)
    return Trial(asdict(options), costs["step_seconds"], costs["peak_bytes"])
