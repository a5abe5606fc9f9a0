"""Old names of settings: accepted for one release, with a notice that names the new one; both at once are refused."""

import warnings
from collections.abc import Mapping
from typing import Any


class RenamedWarning(FutureWarning):
    """Somebody used a name that has a successor. A command prints it as one line (`edge.command.guarded`)."""


def name(value: str, successors: Mapping[str, str], where: str = "") -> str:
    """Return the name that counts today, e.g. of a coding.

    Args:
        value: a name as somebody wrote it.
        successors: old name -> new name.
        where: what it was written for, e.g. "coding.weights", for the notice.

    Returns:
        The successor, if `value` is an old name; else `value` itself.
    """
    if value not in successors:
        return value
    prefix = f"{where}: " if where else ""
    text = f"{prefix}'{value}' is called '{successors[value]}' now; the old name is accepted for one release"
    warnings.warn(text, RenamedWarning, stacklevel=2)
    return successors[value]


def keys(values: Mapping[str, Any], successors: Mapping[str, str], where: str = "") -> dict[str, Any]:
    """Return a table of settings with today's keys, in the order they were written.

    Args:
        values: key -> value, as somebody wrote them; those that are no names of settings are left alone.
        successors: old key -> new key.
        where: which table this is, e.g. "settings", for the notice and the refusal.

    Raises:
        ValueError: an old and a new name of one setting are both there.
    """
    for key in values:
        if (successor := successors.get(key, key)) != key and successor in values:
            raise ValueError(f"'{key}' is the old name of '{successor}'; both are given: keep '{successor}'")
    return {name(key, successors, where): value for key, value in values.items()}
