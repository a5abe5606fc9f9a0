"""How far a fleet is from a stationary point, and its devices from one another.

For protocols that pull towards the network's mean of soft labels (D-Distillation):

    gradient_norm     root mean square over the devices of ||grad F_n||, where F_n is the regularised loss on
                      all private and all reference rows, with the *true* mean of everybody's outputs
    consensus_error   root mean square over devices and reference rows of ||z_n(r) - mean_m s_m(r)||

    mean_drift        largest distance of the mean of the z from the mean of the s (invariant I1)

None of the first two falls at every step; look at means over a window, and at the ratio of the last to the first
(Bistritz et al. 2020 prove that the first tends to zero; algorithms I3).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge.algorithm import Algorithm
from edge.bundle import PARAMETER
from edge.engines import onnx_runtime
from edge.errors import ConfigError
from edge.interfaces import Array, Engine
from edge_sim.fleet import EmulatedNode
from edge_sim.world import World, fitted
from export.model import Model
from export.write import export

TERM = "squared_error(reference)"
PAPER = {"weighting": "none", "loss": "squared-error"}


class Probe:
    """Measures a fleet without touching it: plain SGD steps of rate 1 on copies of the parameters."""

    def __init__(self, world: World, algorithm: Algorithm, folder: Path) -> None:
        """Raises ConfigError where the protocol has no such loss, or the model is a bundle."""
        if TERM not in algorithm.objective or algorithm.settings.weighting != PAPER["weighting"]:
            wanted = ", ".join(f'{key} = "{value}"' for key, value in PAPER.items())
            raise ConfigError(
                f"convergence is measured for the paper's own update, that is d-distillation with {wanted}; "
                f"{algorithm.name} has other settings"
            )
        self._world = world
        self._pull = float(algorithm.settings.rho)
        self._engines: dict[str, Engine] = {}
        for i, spec in enumerate(world.scenario.models):
            model = world.models[spec]
            if not isinstance(model, Model):
                raise ConfigError(f"convergence needs the model, and {spec} is a bundle already")
            place = folder / f"probe-{algorithm.name}-{i}"
            bundle = export(fitted(model, algorithm.objective), place, objective=" + ".join(algorithm.objective))
            self._engines[spec] = onnx_runtime.create(bundle, threads=world.scenario.threads)

    def measure(self, devices: Sequence[EmulatedNode]) -> dict[str, float]:
        """Measure all devices as they are now; returns the figures by name."""
        reference = self._world.reference.x
        mean = np.mean([d.engine.predict(reference).astype(np.float64) for d in devices], axis=0)
        norms = [self._gradient(i, d, mean.astype(np.float32)) for i, d in enumerate(devices)]
        distances = [((d.protocol.state()["z"] - mean) ** 2).sum(axis=1).mean() for d in devices]
        drift = np.mean([d.protocol.state()["z"] for d in devices], axis=0) - mean
        return {
            "gradient_norm": float(np.sqrt(np.mean(norms))),
            "consensus_error": float(np.sqrt(np.mean(distances))),
            "mean_drift": float(np.abs(drift).max()),
        }

    def _gradient(self, index: int, device: EmulatedNode, mean: Array) -> float:
        """Compute ||grad F_n||^2 over the trained parameters."""
        world = self._world
        engine, share = self._engines[world.scenario.model_of(index)], world.shares[index]
        before = device.engine.parameters()
        engine.load_parameters(before)
        batch = {
            "x": world.dataset.x_train[share],
            "labels": world.dataset.y_train[share],
            "reference_x": world.reference.x,
            "reference_target": mean,
        }
        engine.step(batch, learning_rate=1.0, **{f"weight/{TERM}": self._pull})
        after = {k.removeprefix(PARAMETER): v for k, v in engine.state().items() if k.startswith(PARAMETER)}
        return sum(float(((before[k].astype(np.float64) - after[k]) ** 2).sum()) for k in before)


def window(values: Sequence[float], size: int) -> tuple[float, float, float]:
    """Return the mean of the first `size` values, that of the last `size`, and the ratio of last to first."""
    first, last = float(np.mean(values[:size])), float(np.mean(values[-size:]))
    return first, last, last / first
