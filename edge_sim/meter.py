"""What a device's work cost: multiply-accumulates of all that it computed, and the memory that takes."""

from edge.bundle import Bundle
from edge_sim import work
from edge_sim.fleet import EmulatedNode
from export.report.cost import LayerCost


def macs(device: EmulatedNode) -> float:
    """Count the multiply-accumulates of all steps and predictions so far, without the emulator's evaluations."""
    if device.bundle is None:
        return 0.0
    return float(work.macs(device.bundle.path, device.engine.work))


PARTS = ("parameters", "optimizer", "batch", "activations", "protocol")


def memory(device: EmulatedNode) -> dict[str, float]:
    """Plan the most bytes that a step needs, by PARTS: parameters and optimizer state are there twice.

    The runtime and the interpreter come on top (`edge-bench memory`).
    """
    held = float(sum(value.nbytes for value in device.protocol.state().values()))
    steps = [key for key in device.engine.work if key[0] == "train"]
    if device.bundle is None or not steps:
        return dict.fromkeys(PARTS, 0.0) | {"protocol": held}
    _, n, r = max(steps, key=lambda key: key[1] + key[2])
    return planned(device.bundle, n, r) | {"protocol": held}


def planned(bundle: Bundle, n: int, r: int = 0) -> dict[str, float]:
    """Plan the bytes of one training step with `n` private and `r` reference rows, by PARTS but for the protocol's."""
    spent, manifest = work.of(bundle.path, "train", n, r), bundle.manifest
    parameters, state = 4.0 * manifest.size, 4.0 * sum(s.size for s in manifest.state)
    return {
        "parameters": 2 * parameters,
        "optimizer": 2 * state,
        "batch": spent.inputs - parameters - state,
        "activations": float(spent.activations),
    }


def outputs(bundle: Bundle, n: int) -> int:
    """Plan the bytes of the activations when the outputs of `n` rows are computed at once."""
    return work.of(bundle.path, "predict", n, 0).activations


def layers(bundle: Bundle, n: int, r: int = 0) -> list[LayerCost]:
    """Return the nodes of one training step that multiply."""
    return [layer for layer in work.of(bundle.path, "train", n, r).layers if layer.macs]
