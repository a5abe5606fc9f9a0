"""Flags that several commands have."""

import argparse

from edge import data
from edge.engines import ENGINES
from edge_bench.models import SHAPES
from edge_report import flags
from edge_report.finding import cores
from edge_report.flags import DEFAULT


def add_seeds(parser: argparse.ArgumentParser, seeds: str) -> None:
    """Add the flags of a command that emulates several seeds: --data, --seeds, --workers."""
    parser.add_argument("--data", default="digits", metavar="digits|npz:PATH|csv:PATH|...", help="data set" + DEFAULT)
    held = "rows for testing; as the data says if absent"
    parser.add_argument("--holdout", metavar="by:COLUMN:N|N|FRACTION", help=held)
    flags.add_integers(parser, "--seeds", seeds, "one emulation for each", least=0, metavar="0,1,2")
    flags.add_count(parser, "--workers", cores(), "processes")


def add_fleet(parser: argparse.ArgumentParser, *, devices: int, rounds: int) -> None:
    """Add the flags of the fleet that a command emulates, with these defaults."""
    flags.add_count(parser, "--devices", devices, "devices of the fleet")
    parser.add_argument("--topology", default="ring", metavar="NAME", help="who neighbours whom" + DEFAULT)
    model = "model to train" + DEFAULT
    parser.add_argument("--model", default="zoo:mlp:64-32", metavar="zoo:NAME|FILE.onnx", help=model)
    parser.add_argument("--reference", default="300", metavar="N|npz:PATH", help="reference set" + DEFAULT)
    flags.add_count(parser, "--rounds", rounds, "rounds of training", "R")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a command about one device: --model, --engine, --batch, --reference."""
    known = f"the folder of a bundle, or one of: {', '.join(SHAPES)}"
    parser.add_argument("--model", default="small-cnn", metavar="NAME|BUNDLE", help=known + DEFAULT)
    engines = "|".join(ENGINES.names())
    parser.add_argument("--engine", default="onnx-runtime", metavar=engines, help="what runs the step" + DEFAULT)
    flags.add_count(parser, "--batch", 32, "rows of a step")
    flags.add_count(parser, "--reference", 300, "rows of a message", "R")


def short(source: str) -> str:
    """Name a data source without its folders.

    >>> short("npz:field/people.npz"), short("digits")
    ('people', 'digits')
    """
    path = data.path(source)
    return source if path is None else path.stem
