"""Results of `edge-bench` commands, read back from their JSON files."""

import warnings
from pathlib import Path

from pydantic import ValidationError

from edge import codec
from edge.errors import ConfigError
from edge.renames import RenamedWarning
from edge_bench import commands
from edge_bench.commands import COMMANDS
from edge_report.finding import Finding, loaded


def coding_today(name: str) -> str:
    """Return the name that a coding has today, of one in a result that an earlier release wrote.

    >>> coding_today("probability8"), coding_today("float32")
    ('simplex:8', 'float32')
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RenamedWarning)  # the file is a record, not a setting to be put right
        return codec.canonical(name)


def read(path: Path) -> Finding:
    """Read what a command wrote. Raises ConfigError: not there, or not that."""
    return parsed(loaded(path), str(path))


def parsed(value: object, path: str) -> Finding:
    """Check a JSON value against the model of the command that it names.

    Args:
        value: as read from JSON.
        path: where it is from, for errors.

    Returns:
        The finding, of the command's own class.

    Raises:
        ConfigError: it names no command, or is not what that command writes.
    """
    name = value.get("command") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in COMMANDS.names():
        raise ConfigError(f"{path} does not say which edge-bench command wrote it (its key 'command' is {name!r})")
    model: type[Finding] = commands.load(name).finding
    try:
        return model.model_validate(value)
    except ValidationError as reason:
        first = reason.errors()[0]
        where = "/".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {where}: {first['msg']}; expected what edge-bench {name} writes now") from None
