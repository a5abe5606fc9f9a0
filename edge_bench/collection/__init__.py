"""Data sets for `edge-bench battery`: from what packages ship, and from a folder of files (`--data-dir`).

A file of this package makes some: `SPEC = CollectionSpec(make=...)`, with

    make(folder) -> {name: function that makes a `LabelledTable`}

A set is listed only where it can be made. Nothing may depend on a set's name: any source of `edge.data` is run in the
same way.

>>> table = available(None)["wine"]()
>>> table.x.shape, len(set(table.y.tolist())), table.holdout
((178, 13), 3, '0.25')
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain
from dataclasses import field
from pathlib import Path

from pydantic.dataclasses import dataclass

from edge.interfaces import Array
from edge.plugins import Family
from edge.specs import CHECKED


@plain(frozen=True)
class LabelledTable:
    """A data set.

    Attributes:
        x: (n, ...) numbers, as `edge.source.standard` takes them.
        y: (n,) labels, integers or text.
        columns: further arrays (n,), e.g. which user a row came from.
        holdout: which rows are for testing, as the setting of that name.
    """

    x: Array
    y: Array
    columns: Mapping[str, Array] = field(default_factory=dict)
    holdout: str = "0.25"


Make = Callable[[], LabelledTable]


@dataclass(frozen=True, kw_only=True, config=CHECKED)
class CollectionSpec:
    """Some data sets.

    Args:
        make: folder of `--data-dir`, or None -> the sets that can be made, by name.
    """

    make: Callable[[Path | None], Mapping[str, Make]]


COLLECTIONS = Family("edge_bench.collection", CollectionSpec, "collection")


def available(folder: Path | None) -> dict[str, Make]:
    """List every set that can be made here, by name."""
    return {name: make for spec in COLLECTIONS.all().values() for name, make in spec.make(folder).items()}
