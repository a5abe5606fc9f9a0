"""`similarity:X`: whoever contradicts us where we are sure is left out.

Agreement with a neighbour is the mean overlap sum_k min(p_k, q_k) of its rows with ours, each row weighted by how much
surer than a guess we are of it. Who agrees less than X times as much as the one who agrees most is left out. A device
with other classes than ours says little about the rows we are sure of; an attacker contradicts us there.
"""

from collections.abc import Mapping

import numpy as np

from edge.interfaces import Aggregation, Floats, NodeId
from edge.robust import number
from edge.specs import AggregationSpec


def rule(argument: str, _classes: int | None) -> Aggregation:
    """X, from 0 to less than 1; 0.7 if none is given."""
    least = number("similarity", argument or "0.7", 0, 1)

    def aggregate(tables: Mapping[NodeId, Floats], own: Floats | None) -> dict[NodeId, Floats]:
        if not tables:
            return {}
        ours = own if own is not None else np.median(np.stack(list(tables.values())), axis=0).astype(np.float32)
        agreed = {j: agreement(ours, table) for j, table in tables.items()}
        most = max(agreed.values())
        return {j: table for j, table in tables.items() if agreed[j] >= least * most}

    return aggregate


def agreement(ours: Floats, theirs: Floats) -> float:
    """0 to 1; see the module. 0 if we are sure of nothing."""
    both = ours.any(axis=1) & theirs.any(axis=1)
    sure = np.where(both, np.clip(ours.max(axis=1) - 1 / ours.shape[1], 0, None), 0).astype(np.float64)
    overlap = np.minimum(np.clip(ours, 0, None), np.clip(theirs, 0, None)).sum(axis=1)
    return float((sure * overlap).sum() / max(sure.sum(), 1e-9))


SPEC = AggregationSpec(rule=rule)
