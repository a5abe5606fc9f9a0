"""`edge-sim`: many devices in one process, the same node loop.

from edge.sim import Scenario, run

result = run(Scenario(devices=8, split="classes:4", rounds=100))
result.frame()["accuracy_all"]
"""

from edge.sim.result import Result
from edge.sim.run import Frame, run
from edge.sim.scenario import Scenario

__all__ = ["Frame", "Result", "Scenario", "run"]
