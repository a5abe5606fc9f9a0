"""Class labels: what a fleet's class numbers 0 .. K-1 stand for, and how the labels of a file become them.

>>> Classes(3, ("cat", "dog", "owl"), "the bundle pets").numbers(np.array(["owl", "cat"]), "npz:mine.npz")
array([2, 0])
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge.errors import ConfigError, DataError
from edge.interfaces import Array
from edge.task import CLASSIFICATION, Task

LEAST = 2
"""Classes that a model tells apart, at least."""


@dataclass(frozen=True)
class Classes:
    """The classes that all devices of a fleet agree on, because the bundle says so.

    Attributes:
        count: the number of classes, K.
        names: of the K classes; none if the bundle declares none.
        origin: who says so, for error messages, e.g. "the bundle my-bundle".
        task: what the bundle is for; the classes of other tasks than classification are its outputs.
    """

    count: int
    names: tuple[str, ...]
    origin: str
    task: Task = CLASSIFICATION

    def numbers(self, y: Array, origin: str, row: Callable[[int], str] = "row {}".format) -> Array:
        """Turn labels into class numbers. Integers are class numbers already; text is looked up among the names.

        Args:
            y: (n,) integers or text.
            origin: of the labels, for error messages, e.g. "npz:private.npz".
            row: says which row of the file an element of `y` is in.

        Returns:
            (n,) int64 in 0 .. K-1.

        Raises:
            DataError: a label that is none of these classes; names the first such row.
        """
        if y.dtype.kind == "U":
            if not self.names and len(y):
                raise DataError(
                    f"{origin}: the labels are text ('{y[0]}' in {row(0)}), but {self.origin} declares no class names; "
                    "export it with edge-export --classes NAME,NAME,... for the whole fleet"
                )
            order = {name: number for number, name in enumerate(self.names)}
            codes = np.array([order.get(str(label), -1) for label in y], np.int64)
            wrong = codes < 0
        else:
            codes, wrong = y, (y < 0) | (y >= self.count)
        if wrong.any():
            first = int(wrong.argmax())
            raise DataError(f"{origin}: {row(first)} has the label {y[first].item()!r}; {self.origin} has {self}")
        return codes.astype(np.int64)

    def __str__(self) -> str:
        """Return the classes as an error message lists them."""
        numbers = f"the classes 0 to {self.count - 1}"
        return f"{numbers}: {', '.join(self.names)}" if self.names else numbers


def declared(text: str, least: int = LEAST) -> tuple[int, tuple[str, ...]]:
    """Read how somebody declares classes.

    Args:
        text: a number K, or the names of the classes in the order of their numbers, as in "cat,dog,owl".
        least: how many there have to be; the outputs of a regression, or labels, may be one.

    Returns:
        The number of classes, and their names if there are any.

    Raises:
        ConfigError: fewer than two classes, or a name that is empty, a number, or there twice.
    """
    if text.strip().isdecimal():
        if int(text) < least:
            raise ConfigError(f"--classes {text}: expected {least} or more {'classes' if least > 1 else 'outputs'}")
        return int(text), ()
    names = tuple(name.strip() for name in text.split(","))
    if len(names) < least or not all(names) or len(set(names)) < len(names):
        raise ConfigError(f"--classes {text}: expected a number, or {least} or more different names as in cat,dog,owl")
    if numerals := [name for name in names if name.lstrip("+-").isdecimal()]:
        raise ConfigError(
            f"--classes {text}: '{numerals[0]}' is no name; integer labels are class numbers already, "
            "so give the number of classes alone"
        )
    return len(names), names
