"""Your own data: arrays, divided as you like. A file of arrays does as well (data="npz:FILE.npz")."""

import numpy as np

from edge.data import DATA, Dataset
from edge.specs import DataSpec
from edge_sim import Scenario, run


def load(argument, seed):
    """Three clouds of points in eight dimensions, seen by four sensors; `argument` says how far apart they are."""
    random = np.random.default_rng(seed)
    centres = float(argument or 2) * random.normal(size=(3, 8))
    y = random.integers(0, 3, 1200)
    x = (centres[y] + random.normal(size=(1200, 8))).astype(np.float32)
    sensor = np.where(random.random(900) < 0.8, y[:900], random.integers(0, 4, 900))
    return Dataset(x[:900], y[:900], x[900:], y[900:], ("still", "walking", "running"), {"sensor": sensor})


DATA.register("clouds", DataSpec(load=load))

for protocol in ("isolated", "d-distillation"):
    result = run(
        Scenario(
            data="clouds:1.2",
            split="by:sensor",
            devices=4,
            reference="100",
            model="zoo:mlp:16",
            rounds=15,
            protocol=protocol,
        )
    )
    print(protocol, f"{result.mean_accuracy:.3f}")
    print(result.frame("devices")[["id", "samples", "accuracy_all", "accuracy_own"]])
