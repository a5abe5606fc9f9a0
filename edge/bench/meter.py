"""What a device's work cost: multiply-accumulates of all it was asked to do, and the memory that needs."""

from functools import lru_cache
from pathlib import Path

import onnx

from edge.sim.fleet import Device
from export.cost import Cost, cost


def macs(device: Device) -> float:
    """Multiply-accumulates of all training steps and predictions so far, evaluations by the emulator included not."""
    if device.bundle is None:
        return 0.0
    total = 0
    for (graph, n, r), times in device.engine.work.items():
        total += times * sum(_cost(device.bundle.path, graph, n, r).macs.values())
    return float(total)


def memory(device: Device) -> float:
    """Bytes a step needs at its highest, by plan: batch, parameters and state twice, activations; and the protocol's.

    The runtime and the interpreter come on top; docs/results.md has what a whole process takes.
    """
    held = sum(value.nbytes for value in device.protocol.state().values())
    steps = [key for key in device.engine.work if key[0] == "train"]
    if device.bundle is None or not steps:
        return float(held)
    _, n, r = max(steps, key=lambda key: key[1] + key[2])
    spent = _cost(device.bundle.path, "train", n, r)
    manifest = device.bundle.manifest
    doubled = 4 * (manifest.size + sum(s.size for s in manifest.state))
    return float(held + spent.inputs + spent.activations + doubled)


@lru_cache(maxsize=256)
def _cost(folder: Path, graph: str, n: int, r: int) -> Cost:
    return cost(onnx.load(folder / f"{graph}.onnx"), {"N": n, "R": r, "rows": n + r})
