"""Distributed learning algorithms, one a file, named as their papers name them.

A file has `SPEC = ProtocolSpec(...)` (`edge.specs`); what its `create` makes is an `edge.interfaces.Protocol`. Exported
here is what most of them are made of, and those from elsewhere, too.

>>> import numpy as np
>>> row = flatten({"W": np.ones((2, 2)), "b": np.zeros(2)})
>>> row.shape, sorted(unflatten(row, {"W": np.ones((2, 2)), "b": np.zeros(2)}))
((1, 6), ['W', 'b'])
"""

from typing import Any

from edge.plugins import Family
from edge.protocols._averaging import agreeing, average
from edge.protocols._base import (
    Stateful,
    Stateless,
    adopt,
    control,
    distributions,
    few_enough,
    flatten,
    message,
    near,
    unflatten,
    weights,
)
from edge.protocols._local import LocalSettings, batches, generator, means, shared, stream, summary, train
from edge.specs import ProtocolSpec

PROTOCOLS: Family[ProtocolSpec[Any]] = Family("edge.protocols", ProtocolSpec, "protocol", "murmur.protocols")

__all__ = [
    "PROTOCOLS",
    "LocalSettings",
    "Stateful",
    "Stateless",
    "adopt",
    "agreeing",
    "average",
    "batches",
    "control",
    "distributions",
    "few_enough",
    "flatten",
    "generator",
    "means",
    "message",
    "near",
    "shared",
    "stream",
    "summary",
    "train",
    "unflatten",
    "weights",
]
