"""Flags that several commands have, and how they are read."""

import argparse
import os
from pathlib import Path

from edge.errors import ConfigError


def fleets(parser: argparse.ArgumentParser, seeds: str) -> None:
    """Of a command that emulates."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--data", default="digits", metavar="digits|npz:PATH|idx:DIR")
    parser.add_argument("--seeds", default=seeds, metavar="0,1,2")
    parser.add_argument("--workers", type=int, default=cores, metavar="N", help="processes; one a core by default")


def model(parser: argparse.ArgumentParser, default: str, shape: str) -> None:
    """Of a command about one training step."""
    parser.add_argument("--model", default=default, metavar="zoo:NAME|FILE.onnx", help=default)
    parser.add_argument("--shape", default=shape, metavar="CxHxW", help=f"of a sample, for zoo models; {shape}")
    parser.add_argument("--classes", type=int, default=10, metavar="K", help="10")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="rows of a step; 32")


def seeds(args: argparse.Namespace) -> list[int]:
    """Raises ConfigError."""
    return numbers("--seeds", args.seeds, 0)


def workers(args: argparse.Namespace) -> int:
    """Raises ConfigError."""
    return at_least_one(args, "workers")


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


def short(source: str) -> str:
    """A data source without its folders."""
    kind, _, rest = source.partition(":")
    return Path(rest).stem if rest and kind in ("npz", "idx") else source
