"""How the emulator grows with its fleet: seconds a round and memory, from ten devices to two thousand.

    python -m benchmarks.scale [--devices 10,100,1000] [--model zoo:mlp:32] [--rounds 6] [--plots FOLDER]

D-Distillation on a random 4-regular graph, synthetic data of 20 dimensions, 100 reference rows, five steps of 16 rows a
round; each size in a process of its own, one thread. Seconds are of the median round without an exam; the exponent is
that of a power law through the seconds: 1 is linear.
"""

import argparse
import json
import subprocess
import sys
from functools import partial

import numpy as np
from pydantic import BaseModel

from edge.command import guarded, last_line
from edge.errors import ConfigError
from edge_report import delivery, figures
from edge_report.document import Section, count, fixed, seconds, size
from edge_report.finding import Finding

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
took = np.diff(marks)
print(json.dumps({"devices": n, "seconds": float(np.median(took[1:-1])), "first": float(took[0]),
                  "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


class Line(BaseModel):
    """One size. first: seconds until the first round was over, which is examined; bytes: resident at the most."""

    devices: int
    seconds: float
    first: float
    bytes: int


class Scale(Finding):
    """All of them."""

    command: str = "scale"
    model: str
    lines: list[Line]
    exponent: float


def main() -> int:
    """Run, and show."""
    parser = argparse.ArgumentParser(description="How the emulator grows with its fleet.")
    parser.add_argument("--devices", default=SIZES, metavar="N,N", help=SIZES)
    parser.add_argument("--model", default="zoo:mlp:32", metavar="zoo:NAME")
    parser.add_argument("--data", default="margin-stream:4000:20:4:0.05", metavar="digits|npz:PATH")
    parser.add_argument("--rounds", type=int, default=6, metavar="N", help="6")
    delivery.flags(parser)
    return guarded("scale", lambda: _perform(parser.parse_args()))


def _perform(args: argparse.Namespace) -> int:
    try:
        sizes = [int(n) for n in args.devices.split(",")]
    except ValueError:
        raise ConfigError(f"--devices {args.devices}: expected numbers, as in {SIZES}") from None
    if args.rounds < 3 or len(sizes) < 2:
        raise ConfigError("expected two sizes and three rounds, or more")
    console = delivery.checked(args)
    lines = []
    for n in sizes:
        console.print(f"{n} devices", highlight=False)
        command = [sys.executable, "-c", WORKER, str(n), args.model, str(args.rounds), args.data]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigError(f"{n} devices: {last_line(done.stderr)}")
        lines.append(Line.model_validate(json.loads(done.stdout)))
    exponent = np.polyfit(np.log([x.devices for x in lines]), np.log([x.seconds for x in lines]), 1)[0]
    found = Scale(model=args.model, lines=lines, exponent=float(exponent))
    delivery.deliver(console, found, sections(found), args)
    return 0


def sections(found: Scale) -> list[Section]:
    """A table and two pictures."""
    rows = [
        (count(x.devices), seconds(x.seconds), seconds(x.seconds / x.devices), seconds(x.first), size(x.bytes))
        for x in found.lines
    ]
    spent = [(float(x.devices), x.seconds) for x in found.lines]
    base = min(found.lines, key=lambda x: x.devices)
    extra = [(float(x.devices), (x.bytes - base.bytes) / 1e6) for x in found.lines]
    return [
        Section(
            "scale",
            f"{found.model}: a round takes devices to the power of {fixed(found.exponent, 2)}",
            columns=("devices", "a round", "of a device", "first round", "memory"),
            rows=rows,
            picture=partial(figures.lines, {found.model: spent}, "devices", "s a round"),
        ),
        Section(
            "scale-memory",
            f"memory beyond that of {base.devices} devices",
            picture=partial(figures.lines, {found.model: extra}, "devices", "MB"),
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
