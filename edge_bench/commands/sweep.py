"""`edge-bench sweep FILE...`: the same as `edge-sim sweep`, beside the other measurements."""

from edge_sim.sweep import FINDING, TEXT, arguments, run, sections

__all__ = ["FINDING", "TEXT", "arguments", "run", "sections"]
