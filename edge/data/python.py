"""A Python function: `python:package.module:function`.

It takes nothing and returns (x, y), of which a fifth is held out; (x_train, y_train, x_test, y_test); or a dictionary
with arrays of these names, where further ones are columns to divide by.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from edge.data._arrays import PARTED, source
from edge.errors import ConfigError, DataError
from edge.source import DataSource
from edge.specs import DataSpec


def function(argument: str, noun: str = "data") -> Callable[..., Any]:
    """Look a function up. argument: its module, a colon, and its name. Raises ConfigError: there is none."""
    origin = f"python:{argument}"
    module, _, name = argument.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), *name.split(".")]):
        raise ConfigError(f"{noun} '{origin}': expected python:package.module:function")
    try:
        thing: Callable[..., Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as reason:
        raise ConfigError(f"{noun} '{origin}': {reason}; the module must be importable, e.g. by PYTHONPATH") from None
    if not callable(thing):
        raise ConfigError(f"{noun} '{origin}' is {type(thing).__name__}, expected a function")
    return thing


def read(argument: str) -> DataSource:
    """Call the function. argument: its module, a colon, and its name."""
    origin, call = f"python:{argument}", function(argument)
    try:
        values = call()
    except Exception as reason:  # it is not our code
        brief = " ".join(str(reason).split())
        raise DataError(f"{origin} failed: {type(reason).__name__}: {brief}") from None
    if isinstance(values, tuple | list) and len(values) in (2, 4):
        values = dict(zip(("x", "y") if len(values) == 2 else PARTED, values, strict=True))
    if not isinstance(values, Mapping):
        raise DataError(f"{origin} must return (x, y), ({', '.join(PARTED)}), or a dictionary of such arrays")
    return source({str(key): np.asarray(value) for key, value in values.items()}, origin)


SPEC = DataSpec(read=read)
