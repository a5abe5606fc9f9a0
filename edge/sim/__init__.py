"""`edge-sim`: many devices in one process, the same node loop.

from edge.sim.run import run
from edge.sim.scenario import Scenario

result = run(Scenario(devices=8, split="classes:4", rounds=100))
"""
