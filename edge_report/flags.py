"""Flags of numbers and words, read from the command line."""

import argparse

from edge.errors import ConfigError


def at_least_one(args: argparse.Namespace, name: str) -> int:
    """A flag's number. Raises ConfigError."""
    value = int(getattr(args, name))
    if value < 1:
        raise ConfigError(f"--{name.replace('_', '-')} {value}: expected 1 or more")
    return value


def numbers(flag: str, text: str, least: int) -> list[int]:
    """Different ones, separated by commas. Raises ConfigError."""
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < least or len(set(found)) < len(found):
        raise ConfigError(f"{flag} {text}: expected different numbers from {least}, e.g. {least},{least + 1}")
    return found


def words(text: str | None) -> list[str]:
    """Separated by commas; none if the flag was not given."""
    return [word for word in (text or "").split(",") if word]
