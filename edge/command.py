"""What every command does alike: one line for what went wrong, and an exit code."""

import argparse
import sys
import warnings
from collections.abc import Callable
from typing import Any

from edge import plugins, renames
from edge.errors import ConfigError, FallbackWarning, MurmurError
from edge.renames import RenamedWarning


def last_line(text: str) -> str:
    """Of what a program said as it failed: where most say why."""
    return (text.strip().splitlines() or ["no word why"])[-1]


def plugin_flag(parser: argparse.ArgumentParser) -> None:
    """Add --plugin, which every command that runs plug-ins has."""
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE.py",
        help="a protocol, engine, coding or data set from a file, called as the file is (repeatable)",
    )


def add_plugins(args: argparse.Namespace) -> None:
    """Make the plug-ins of --plugin known, to this process and to those it starts. Raises ConfigError."""
    for path in args.plugin:
        plugins.add_file(path)


def renamed_flag(flag: str, value: Any, old_flag: str, old_value: Any) -> Any:
    """Return the value of a command-line flag that has an old name, which is accepted for one release.

    Args:
        flag: its name now, e.g. "--timeout".
        value: what was given under that name; None if nothing was.
        old_flag: its old name; a notice says what it is called now.
        old_value: what was given under the old name; None if nothing was.

    Raises:
        ConfigError: both were given.
    """
    given = {name: text for name, text in ((flag, value), (old_flag, old_value)) if text is not None}
    try:
        return renames.keys(given, {old_flag: flag}).get(flag)
    except ValueError as reason:
        raise ConfigError(str(reason)) from None


def listen_address(text: str) -> tuple[str, int]:
    """Read where a server shall listen.

    >>> listen_address("127.0.0.1:8080")
    ('127.0.0.1', 8080)

    Args:
        text: HOST:PORT, as --listen has it.

    Raises:
        ConfigError: anything else.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--listen {text}: expected HOST:PORT")
    return host, int(port)


def cannot_listen(host: str, port: int, reason: OSError) -> ConfigError:
    """Return the error of a server that cannot have its address."""
    return ConfigError(f"--listen {host}:{port}: {reason.strerror or reason}")


def guarded(name: str, body: Callable[[], int]) -> int:
    """Run a command's body, with notices of old names as one line each.

    Args:
        name: of the command, to begin its lines on standard error with.
        body: what it does; its result is the exit code.

    Returns:
        The exit code: the body's, 2 for something the user can put right, or 130 if interrupted.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", RenamedWarning)
            warnings.simplefilter("default", FallbackWarning)
            warnings.showwarning = _one_line(name, warnings.showwarning)
            return body()
    except MurmurError as reason:
        line = " ".join(str(reason).split())
        print(f"{name}: error: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        sys.stderr.close()
        return 0


def _one_line(name: str, show: Callable[..., None]) -> Callable[..., None]:
    def shown(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, RenamedWarning | FallbackWarning):
            print(f"{name}: note: {message}", file=sys.stderr)
        else:
            show(message, category, *rest, **more)

    return shown
