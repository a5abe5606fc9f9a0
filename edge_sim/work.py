"""What the work of an engine costs, by the exporter's count."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import onnx

from export.report.cost import Cost, cost

Work = Mapping[tuple[str, int, int], int]
"""what an engine has computed -> how often (`edge.interfaces.Engine`)"""


@lru_cache(maxsize=256)
def of(folder: Path, graph: str, n: int, r: int) -> Cost:
    """Return the cost of one run of a bundle's graph on `n` private and `r` reference rows."""
    return cost(onnx.load(folder / f"{graph}.onnx"), {"N": n, "R": r, "rows": n + r})


@lru_cache(maxsize=256)
def _macs(folder: Path, graph: str, n: int, r: int) -> int:
    return sum(of(folder, graph, n, r).macs.values())


def macs(folder: Path, work: Work) -> int:
    """Count the multiply-accumulates of all of it."""
    return sum(times * _macs(folder, *key) for key, times in work.items())
