"""`edge-sim`: many devices in one process, the same node loop.

from edge_sim import Scenario, run

result = run(Scenario(devices=8, split="classes:4", rounds=100))
result.frame()["accuracy_all"]
"""

from edge_sim.result import Result
from edge_sim.run import Frame, run
from edge_sim.scenario import Scenario

__all__ = ["Frame", "Result", "Scenario", "run"]
