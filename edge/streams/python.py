"""What a generator yields, `python:package.module:function`: (x, y), (x, y, position), or None where nothing has come.

x is a sample or several, y the label or labels, None if there are none. A function with a parameter is given the last
position that was kept, "" at first: a text, to go on there after a crash. Without positions, what the function yields
again after a crash is kept again.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from edge.data import python
from edge.errors import DataError
from edge.payload import Payload, StreamItem
from edge.specs import StreamSpec

POSITION = "position"


def follow(argument: str, marks: Mapping[str, str], shape: tuple[int, ...]) -> Iterator[StreamItem | None]:
    """Call the function. argument: its module, a colon, and its name. See `StreamSpec.open`."""
    return _arrivals(python.function(argument, "stream"), f"python:{argument}", marks.get(POSITION, ""), shape)


def _arrivals(
    function: Callable[..., Any], origin: str, position: str, shape: tuple[int, ...]
) -> Iterator[StreamItem | None]:
    try:
        for item in function(position) if inspect.signature(function).parameters else function():
            yield None if item is None else _arrival(item, origin, shape)
    except DataError:
        raise
    except Exception as reason:  # it is not our code
        raise DataError(f"{origin} failed: {type(reason).__name__}: {' '.join(str(reason).split())}") from reason


def _arrival(item: Any, origin: str, shape: tuple[int, ...]) -> StreamItem:
    if not isinstance(item, tuple) or len(item) not in (2, 3):
        raise DataError(f"{origin} must yield (x, y), (x, y, position) or None; it yielded {type(item).__name__}")
    x, y = np.asarray(item[0]), None if item[1] is None else np.asarray(item[1])
    if x.shape == shape:
        x, y = x[None], None if y is None else y[None]
    return StreamItem(Payload(x, y), {POSITION: str(item[2])} if len(item) == 3 else {})


SPEC = StreamSpec(open=follow)
