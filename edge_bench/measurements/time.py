"""How long a device takes for what it does, and the energy of that where the machine has a meter.

    cold start    from the start of a process to the end of its first training step
    step          one training step, private and reference rows
    predict       the outputs of the reference set
    encode        those outputs into payloads; decode: a neighbour's payloads into outputs
    delivery      from publishing a message to its receipt by another client, over a broker on loopback, QoS 1
    round         of a device in a fleet on that broker: steps, outputs, messages both ways, mixing

step, predict, encode and decode take turns; all are medians with their 95 % intervals. Energy is the whole machine's,
over many repetitions in a row; what it takes when idle is stated separately.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import BaseModel

from broker import embedded
from edge import codec
from edge.bundle import Bundle
from edge.codec import decode, encode, join
from edge.engines import ENGINES, random_batch
from edge.errors import BundleError, ConfigError, TransportError
from edge.interfaces import Array, Message
from edge.transports import mqtt
from edge_bench import power, worker
from edge_bench.intervals import in_turns
from edge_bench.models import RATE, opened, rows_of
from edge_bench.power import MachineState, Meter
from edge_report.finding import Finding, Progress
from edge_sim.run import run
from edge_sim.scenario import Scenario

OBJECTIVE = "cross_entropy(private) + soft_cross_entropy(reference)"
DELIVERIES, PATIENCE = 200, 10.0
ROUNDS, DEVICES = 20, 2


class TimeRow(BaseModel):
    """One thing a device does. joules: of one, gross; none where it was not measured."""

    name: str
    seconds: list[float]
    joules: float | None = None


class Times(Finding):
    """One model, batch and reference set.

    Attributes:
        left_out: what was not measured, and why.
        meter: where energy was read; none: it was not measured.
        idle_watts: of the machine while nothing runs.
        before: the machine's sensors before the measurement.
        after: and after it.
    """

    command: str = "time"
    engine: str
    model: str
    batch: int
    reference: int
    coding: str
    message_bytes: int
    lines: list[TimeRow]
    left_out: dict[str, str]
    meter: str | None
    idle_watts: float | None
    before: MachineState
    after: MachineState


def measure(
    model: str,
    *,
    engine: str = "onnx-runtime",
    batch: int,
    reference: int,
    coding: str,
    seconds: float,
    processes: int,
    meter: Meter | None = None,
    progress: Progress = lambda *_: None,
) -> Times:
    """Measure what a device does, part by part.

    Args:
        model: of `edge_bench.models.SHAPES`, or the folder of a bundle.
        engine: what runs the step.
        batch: rows of a step, private ones and reference ones.
        reference: rows of a message.
        coding: of soft labels.
        seconds: about so many for each part.
        processes: cold starts.
        meter: of energy, if there is one.
        progress: called before each part.

    Raises:
        ConfigError: a model or coding that is not there.
    """
    spec = ENGINES.load(engine)
    codec.find(coding)
    before, parts = power.state(), 5
    with TemporaryDirectory() as folder:
        bundle = opened(model, Path(folder), engine, [batch, batch], objective=OBJECTIVE)
        progress(0, parts, "cold start")
        lines = [TimeRow(name="cold start", seconds=[_cold(bundle, engine, batch) for _ in range(processes)])]
        progress(1, parts, "steps and messages")
        runner = spec.create(bundle)
        x = np.random.default_rng(1).random((reference, *bundle.manifest.shape), np.float32)
        work, payloads = _work(runner, bundle, batch, x, coding)
        lines += [TimeRow(name=name, seconds=durations) for name, durations in in_turns(work, seconds).items()]
        progress(2, parts, "energy")
        idle = _idle(meter, seconds)
        for line in lines[1:]:
            line.joules = _energy(meter, work[line.name], seconds, median(line.seconds))
        progress(3, parts, "delivery")
        lines.append(TimeRow(name="delivery", seconds=_deliveries(payloads)))
        progress(4, parts, "rounds")
        left_out = {}
        try:
            lines.append(TimeRow(name="round", seconds=_rounds(bundle, batch, reference, coding, engine)))
        except (ConfigError, BundleError) as reason:  # a bundle for something else than D-Distillation
            left_out["round"] = str(reason)
    return Times(
        engine=engine,
        model=model,
        batch=batch,
        reference=reference,
        coding=coding,
        message_bytes=sum(map(len, payloads)),
        lines=lines,
        left_out=left_out,
        meter=meter.name if meter else None,
        idle_watts=idle,
        before=before,
        after=power.state(),
    )


def _work(
    runner: Any, bundle: Bundle, batch: int, x: Array, coding: str
) -> tuple[dict[str, Callable[[], object]], list[bytes]]:
    """Return (what is measured in turns, by name; the payloads of one message of the outputs of `x`)."""
    rows = random_batch(bundle, *rows_of(bundle, batch))
    message = Message("soft-labels", 1, bytes(8), runner.predict(x))
    payloads = encode(message, coding)
    work: dict[str, Callable[[], object]] = {
        "step": partial(runner.step, rows, learning_rate=RATE),
        "predict": partial(runner.predict, x),
        "encode": partial(encode, message, coding),
        "decode": lambda: join([decode(payload) for payload in payloads]),
    }
    return work, payloads


def _cold(bundle: Bundle, engine: str, batch: int) -> float:
    """Measure the seconds from the start of a fresh process to its first step."""
    return worker.probe(engine, bundle.path, f"{batch},{batch}", 0.001)["first_step_seconds"]


def _idle(meter: Meter | None, seconds: float) -> float | None:
    """Measure the machine's watts while this process sleeps."""
    if meter is None:
        return None
    begin = meter.mark()
    time.sleep(seconds)
    end = meter.mark()
    joules = meter.joules(begin, end)
    return None if joules is None else joules / (end - begin)


def _energy(meter: Meter | None, work: Callable[[], object], seconds: float, each: float) -> float | None:
    """Measure the joules of one, gross: the mean of as many as fit into the time."""
    if meter is None:
        return None
    count = max(1, round(seconds / each))
    begin = meter.mark()
    for _ in range(count):
        work()
    joules = meter.joules(begin, meter.mark())
    return None if joules is None else joules / count


def _deliveries(payloads: list[bytes]) -> list[float]:
    """Measure the seconds from publishing a message to having all of it, one at a time, between two clients."""
    durations = []
    with embedded.running() as broker:
        a, b = (mqtt.create(url=broker.url, fleet="time", me=me, lasting=False) for me in "ab")
        try:
            for _ in range(DELIVERIES):
                begin, arrived = time.perf_counter(), 0
                for payload in payloads:
                    a.send("b", "soft-labels", payload)
                while arrived < len(payloads):
                    if not b.wait(PATIENCE):
                        raise TransportError(f"a message did not arrive within {PATIENCE:.0f} seconds")
                    arrived += len(b.receive())
                durations.append(time.perf_counter() - begin)
        finally:
            a.close()
            b.close()
    return durations


def _rounds(bundle: Bundle, batch: int, reference: int, coding: str, engine: str) -> list[float]:
    """Measure the seconds a round of DEVICES devices that this process emulates; the first is left out."""
    random = np.random.default_rng(2)
    count = (reference + 4 * DEVICES * batch) * 5 // 4  # a fifth is held out
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        x = random.random((count, *bundle.manifest.sample), np.float32)
        np.savez(path, x=x, y=np.arange(count) % bundle.manifest.classes)
        result = run(
            Scenario(
                devices=DEVICES,
                topology="complete",
                data=f"npz:{path}",
                reference=str(reference),
                model=str(bundle.path),
                engine=engine,
                transport="mqtt",
                rounds=ROUNDS + 1,
                evaluate_every=ROUNDS + 1,
                coding={"soft_labels": coding},
                settings={"d-distillation": {"batch_size": batch, "reference_batch": batch, "learning_rate": RATE}},
            )
        )
    return [one.seconds for one in result.rounds[1:-1]]
