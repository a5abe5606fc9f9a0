"""Command-line flags that are checked as they are read: numbers, durations, lists.

A value that cannot be is refused in one line that names the flag, as everywhere else (`ConfigError`), and the help of
every flag ends with its default.
"""

import argparse
from collections.abc import Callable

from edge.errors import ConfigError

DEFAULT = " (default: %(default)s)"


def add_count(parser: argparse.ArgumentParser, flag: str, default: int | None, text: str, metavar: str = "N") -> None:
    """Add a flag that takes a whole number of 1 or more.

    Args:
        parser: to which it is added.
        flag: with its hyphens, e.g. "--rounds".
        default: without the flag; None where "not given" means something else.
        text: what it counts, for the help.
        metavar: letter that stands for the number in the help.

    Raises:
        ConfigError: while parsing, for a number below 1.

    >>> parser = argparse.ArgumentParser()
    >>> add_count(parser, "--rounds", 20, "rounds of training")
    >>> parser.parse_args(["--rounds", "3"]).rounds
    3
    """

    def whole(word: str) -> int:
        value = int(word)
        if value < 1:
            raise ConfigError(f"{flag} {word}: expected 1 or more")
        return value

    _add(parser, flag, whole, default, text, metavar)


def add_seconds(parser: argparse.ArgumentParser, flag: str, default: float, text: str) -> None:
    """Add a flag that takes a duration in seconds. Raises ConfigError while parsing: not more than 0."""

    def duration(word: str) -> float:
        value = float(word)
        if not value > 0:
            raise ConfigError(f"{flag} {value}: expected more than 0")
        return value

    _add(parser, flag, duration, default, text, "S")


def add_integers(
    parser: argparse.ArgumentParser, flag: str, default: str, text: str, *, least: int, metavar: str = "N,N"
) -> None:
    """Add a flag that takes different whole numbers from `least` on, separated by commas.

    Raises ConfigError while parsing: something else, or the same number twice.
    """

    def numbers(words: str) -> list[int]:
        try:
            values = [int(word) for word in words.split(",")]
        except ValueError:
            values = []
        if not values or min(values) < least or len(set(values)) < len(values):
            raise ConfigError(f"{flag} {words}: expected different numbers from {least}, e.g. {least},{least + 1}")
        return values

    _add(parser, flag, numbers, default, text, metavar)


def words(text: str | None) -> list[str]:
    """Names separated by commas; none if the flag was not given.

    >>> words("isolated,d-psgd"), words(None)
    (['isolated', 'd-psgd'], [])
    """
    return [word for word in (text or "").split(",") if word]


def _add(
    parser: argparse.ArgumentParser,
    flag: str,
    read: Callable[[str], object],
    default: object,
    text: str,
    metavar: str,
) -> None:
    help_text = text if default is None else text + DEFAULT
    parser.add_argument(flag, type=read, default=default, metavar=metavar, help=help_text)
