"""A fleet that is killed again and again, and what becomes of it.

    python -m tests.chaos.killed_fleet --protocol d-distillation --coding delta:15 --kills 500 --seed 0

A child process runs three devices over the memory transport, each with its checkpoint; after a random time it gets
SIGKILL, wherever it is: in a step, in a message, in the middle of writing a checkpoint. The next child resumes. When
a fleet has finished, all it holds is compared with a fleet that ran undisturbed, bit by bit; then the next one
starts, until there were enough kills; the last one then runs to its end. Prints one JSON object. Children are forked,
so that a start costs milliseconds.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from edge import checkpoint, node
from edge.messaging.mailbox import Waiting
from edge.storage import checkpoint_files
from edge_sim import world as worlds
from edge_sim.emulation import NodeFinished
from edge_sim.fleet import EmulatedNode
from edge_sim.scenario import Scenario
from edge_sim.stages import in_virtual_time
from edge_sim.world import Bundles, World

ROUNDS = 60
LONGEST = 0.4
"""seconds: the most that a child lives before it is killed,"""
SHARE = 0.25
"""or this share of an undisturbed run where that is longer, so that a slow machine gets somewhere, too"""


def main() -> int:
    """Kill, resume, compare; exit code 1 if a fleet came out different."""
    parser = argparse.ArgumentParser(description="Kill a fleet again and again; does it come out the same?")
    parser.add_argument("--protocol", default="d-distillation")
    parser.add_argument("--coding", default="delta:15")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    scenario = Scenario(
        devices=3,
        protocol=args.protocol,
        model="zoo:mlp:16",
        rounds=ROUNDS,
        evaluate_every=ROUNDS,
        split="classes:4",
        reference="60",
        coding={"soft_labels": args.coding},
        round_timeout=1e9,
    )
    world = worlds.build(scenario)
    kills = {"in a child": 0, "that left a checkpoint half written": 0, "before the first checkpoint": 0}
    fleets_run = different = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundles = Bundles(world, folder / "bundles")
        algorithm = scenario.algorithm(args.protocol)
        for i in range(scenario.devices):
            bundles.device(algorithm, i)
        bundles.centre(algorithm)
        undisturbed = folder / "undisturbed"
        begin = time.monotonic()
        assert _child(world, bundles, undisturbed, None) == 0
        longest = max(LONGEST, SHARE * (time.monotonic() - begin))

        def life() -> float | None:
            return longest * chance.random() if sum(kills.values()) < args.kills else None

        while sum(kills.values()) < args.kills:
            homes = folder / "homes"
            while (status := _child(world, bundles, homes, life())) != 0:
                assert status == -signal.SIGKILL, f"the fleet ended with {status}"
                kills[_where(homes)] += 1
            fleets_run += 1
            different += _contents(homes) != _contents(undisturbed)
            shutil.rmtree(homes)
    print(json.dumps({"kills": kills, "fleets": fleets_run, "different": different, "rounds": ROUNDS}))
    return 1 if different else 0


def _child(world: World, bundles: Bundles, homes: Path, life: float | None) -> int:
    """Run the fleet in a child, killed after `life` seconds; returns its exit code, negative for a signal."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            _run(world, bundles, homes)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    deadline = time.monotonic() + (life if life is not None else 300)
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _run(world: World, bundles: Bundles, homes: Path) -> None:
    """All rounds of all devices from where their checkpoints are, in the emulator; each writes its own."""
    scenario = world.scenario
    with in_virtual_time(world, scenario.algorithm(scenario.protocol), bundles, "test") as stage:
        devices = [device for device in stage.nodes if isinstance(device, EmulatedNode)]
        running = {device.id for device in devices}
        for device in devices:
            first = 1 + checkpoint.resume(homes / device.id, device.engine, device.protocol, device.mailbox)
            rounds = node.rounds(
                device.protocol, device.engine, device.mailbox, first=first, last=scenario.rounds, round_timeout=1e9
            )
            device.steps = chain(rounds, _answering(device, running))
        for occurrence in stage.occurrences:
            if isinstance(occurrence, NodeFinished):
                device, number = devices[occurrence.index], int(occurrence.row["round"])
                checkpoint.write(homes / device.id, number, device.engine, device.protocol, device.mailbox)


def _answering(device: EmulatedNode, running: set[str]) -> Iterator[Waiting]:
    """A device that has finished answers until all have."""
    running.discard(device.id)
    while running:
        device.mailbox.read()
        yield Waiting(tuple(sorted(running)), device.mailbox.now() + 1.0)


def _where(homes: Path) -> str:
    if any(homes.glob("*/.writing-*")):
        return "that left a checkpoint half written"
    return "in a child" if any(homes.glob("*/round-*")) else "before the first checkpoint"


def _contents(homes: Path) -> dict[str, tuple[int, dict[str, bytes]]]:
    """Everything that every device's newest checkpoint holds."""
    contents = {}
    for home in sorted(homes.iterdir()):
        newest = checkpoint_files.read(home)
        assert newest is not None
        number, values = newest
        held = {k: np.ascontiguousarray(v).tobytes() for k, v in values.items() if not k.startswith("post/")}
        contents[home.name] = number, held
    return contents


if __name__ == "__main__":
    sys.exit(main())
