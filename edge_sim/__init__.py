"""The emulator of `edge-sim`: a fleet of devices in one process, each with the loop, protocol and codings of a board.

>>> from edge_sim import Scenario, run
>>> scenario = Scenario(devices=3, rounds=2, model="zoo:mlp:4", protocol="d-psgd", latency=0.5)
>>> result = run(scenario)
>>> [(one.round, one.devices, one.virtual_seconds) for one in result.rounds]
[(1, 3, 0.5), (2, 3, 1.0)]
>>> result.payload_bytes_total == 2 * 6 * (40 + 4 * result.parameters)  # on each directed edge: header and weights
True

`result.frame()` has the rounds as a data frame; docs/emulator.md describes what a scenario can say.
"""

from edge_sim.result import Result
from edge_sim.run import Frame, run
from edge_sim.scenario import Scenario

__all__ = ["Frame", "Result", "Scenario", "run"]
