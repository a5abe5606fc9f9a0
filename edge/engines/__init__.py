"""Runtimes that execute a bundle's training step, one a file.

A file has `SPEC = EngineSpec(create=...)` (`edge.specs`); what it creates is an `edge.interfaces.Engine`. Exported here
is what does without a runtime.

>>> NoModel().parameters()
{}
"""

from edge.engines._batch import random_batch
from edge.engines._none import NoModel
from edge.plugins import Family
from edge.specs import EngineSpec

ENGINES = Family("edge.engines", EngineSpec, "engine", "murmur.engines")

PROBE = "edge.engines._probe"
"""measures one engine in a process of its own: `python -m PROBE ENGINE BUNDLE N[,R] SECONDS [OPTIONS]`"""
__all__ = ["ENGINES", "PROBE", "NoModel", "random_batch"]
