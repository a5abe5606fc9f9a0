"""`edge-bench sweep FILE...`: the same as `edge-sim sweep`, beside the other measurements."""

from edge_sim.sweep import SPEC

__all__ = ["SPEC"]
