"""Two devices, "a" and "b", that share the digits and learn by D-Distillation: what a fleet's folder needs for them."""

from pathlib import Path

import numpy as np

from edge import algorithm, data
from edge.bundle import Bundle
from export import zoo
from export.write import export


def configuration(rounds: int, patience: float, local_steps: int) -> str:
    """What the node.toml of both have in common; their bundle and digits.npz are beside it."""
    return f"""
peers = ["a", "b"]
topology = "complete"
bundle = "bundle"
data = "npz:digits.npz"
split = "classes:5"
reference = "60"
protocol = "d-distillation"
rounds = {rounds}
round_timeout = {patience}
checkpoint = "state"
[settings]
local_steps = {local_steps}
learning_rate = 0.1
"""


def objective() -> str:
    """What they train."""
    return " + ".join(algorithm.load("d-distillation", {}, "settings").objective)


def model(folder: Path, name: str) -> Bundle:
    """A model of the zoo for them."""
    return export(zoo.build(name, shape=(1, 8, 8), classes=10), folder, objective=objective())


def digits(file: Path, count: int) -> None:
    """The first samples."""
    whole = data.load("digits", 0)
    np.savez(file, x=whole.x_train[:count], y=whole.y_train[:count])
