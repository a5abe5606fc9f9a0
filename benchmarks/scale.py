"""How the emulator grows with its fleet: seconds a round and memory, from ten devices to two thousand.

    python -m benchmarks.scale [--devices 10,100,1000] [--model zoo:mlp:32] [--rounds 6] [--plots FOLDER]

D-Distillation on a random 4-regular graph, synthetic data of 20 dimensions, 100 reference rows, five steps of 16 rows a
round; each size in a process of its own, one thread. Seconds are of the median round without an evaluation; the
exponent is that of a power law through the seconds: 1 is linear.
"""

import argparse
import sys
from functools import partial

import numpy as np
from pydantic import BaseModel

from edge.errors import ConfigError
from edge_bench import worker
from edge_report import delivery, figures
from edge_report.document import Section, count, fixed, seconds, size
from edge_report.finding import Finding, Progress
from edge_report.flags import DEFAULT, add_count, add_integers
from edge_report.specs import CommandSpec

SIZES = "10,30,100,300,1000,2000"
WORKER = """
import json, resource, sys, time
import numpy as np
from edge_sim import Scenario, run
n, model, rounds = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
marks = [time.perf_counter()]
local = {"local_steps": 5, "batch_size": 16, "learning_rate": 0.1, "reference_batch": 16}
run(Scenario(devices=n, topology="random-regular:4", model=model, rounds=rounds, reference="100", rows=4000,
             data=sys.argv[4], evaluate_every=rounds, settings={"d-distillation": local}),
    lambda _: marks.append(time.perf_counter()))
durations = np.diff(marks)
print(json.dumps({"devices": n, "seconds": float(np.median(durations[1:-1])), "first": float(durations[0]),
                  "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


class ScaleRow(BaseModel):
    """One size. first: seconds until the first round was over, which is evaluated; bytes: resident at the most."""

    devices: int
    seconds: float
    first: float
    bytes: int


class Scale(Finding):
    """All sizes. exponent: of the seconds a round."""

    command: str = "scale"
    model: str
    lines: list[ScaleRow]
    exponent: float


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    add_integers(parser, "--devices", SIZES, "sizes of the fleet", least=2)
    parser.add_argument("--model", default="zoo:mlp:32", metavar="zoo:NAME", help="model to train" + DEFAULT)
    source = "margin-stream:4000:20:4:0.05"
    parser.add_argument("--data", default=source, metavar="digits|npz:PATH", help="data set" + DEFAULT)
    add_count(parser, "--rounds", 6, "rounds of training, 3 at least")


def run(args: argparse.Namespace, progress: Progress) -> Scale:
    """See `CommandSpec.run`."""
    if args.rounds < 3 or len(args.devices) < 2:
        raise ConfigError("expected two sizes and three rounds, or more")
    lines = []
    for done, n in enumerate(args.devices):
        progress(done, len(args.devices), f"{n} devices")
        command = [sys.executable, "-c", WORKER, str(n), args.model, str(args.rounds), args.data]
        lines.append(ScaleRow.model_validate_json(worker.output(command, f"{n} devices")))
    exponent = np.polyfit(np.log([x.devices for x in lines]), np.log([x.seconds for x in lines]), 1)[0]
    return Scale(model=args.model, lines=lines, exponent=float(exponent))


def sections(scale: Scale) -> list[Section]:
    """Show a table and two pictures."""
    rows = [
        (count(x.devices), seconds(x.seconds), seconds(x.seconds / x.devices), seconds(x.first), size(x.bytes))
        for x in scale.lines
    ]
    spent = [(float(x.devices), x.seconds) for x in scale.lines]
    base = min(scale.lines, key=lambda x: x.devices)
    extra = [(float(x.devices), (x.bytes - base.bytes) / 1e6) for x in scale.lines]
    return [
        Section(
            "scale",
            f"{scale.model}: a round takes devices to the power of {fixed(scale.exponent, 2)}",
            columns=("devices", "a round", "of a device", "first round", "memory"),
            rows=rows,
            picture=partial(figures.lines, {scale.model: spent}, "devices", "s a round"),
        ),
        Section(
            "scale-memory",
            f"memory beyond that of {base.devices} devices",
            picture=partial(figures.lines, {scale.model: extra}, "devices", "MB"),
        ),
    ]


SPEC = CommandSpec(
    text="Measure how the emulator grows with its fleet.",
    finding=Scale,
    arguments=arguments,
    run=run,
    sections=sections,
)


if __name__ == "__main__":
    sys.exit(delivery.main("scale", SPEC))
