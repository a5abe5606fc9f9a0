"""Flags that several commands have, and how they are read."""

import argparse
from pathlib import Path

from edge.specs import ENGINES
from edge_bench.models import SHAPES
from edge_report.finding import cores
from edge_report.flags import at_least_one, numbers


def fleets(parser: argparse.ArgumentParser, seeds: str) -> None:
    """Of a command that emulates."""
    parser.add_argument("--data", default="digits", metavar="digits|npz:PATH|idx:DIR")
    parser.add_argument("--seeds", default=seeds, metavar="0,1,2")
    parser.add_argument("--workers", type=int, default=cores(), metavar="N", help="processes; one a core by default")


def device(parser: argparse.ArgumentParser) -> None:
    """Of a command about one device."""
    known = f"a bundle's folder, or {', '.join(SHAPES)}"
    parser.add_argument("--model", default="small-cnn", metavar="NAME|BUNDLE", help=known)
    parser.add_argument("--engine", default="onnx-runtime", metavar="|".join(ENGINES.names()))
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="rows of a step; 32")
    parser.add_argument("--reference", type=int, default=300, metavar="R", help="rows of a message; 300")


def seeds(args: argparse.Namespace) -> list[int]:
    """Raises ConfigError."""
    return numbers("--seeds", args.seeds, 0)


def workers(args: argparse.Namespace) -> int:
    """Raises ConfigError."""
    return at_least_one(args, "workers")


def short(source: str) -> str:
    """A data source without its folders."""
    kind, _, rest = source.partition(":")
    return Path(rest).stem if rest and kind in ("npz", "idx") else source
