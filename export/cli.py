"""`edge-export`: from an ONNX model to a bundle that trains on a device.

edge-export MODEL.onnx|zoo:NAME[:ARGUMENT] -o BUNDLE
edge-export inspect BUNDLE
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
from rich.console import Console
from rich.table import Table

from edge import bundle as bundles
from edge.bundle import Bundle
from edge.command import guarded
from edge.errors import ConfigError
from edge.plugins import names
from export import model, zoo
from export.errors import ExportError
from export.gradients import supported
from export.model import Model
from export.trainable import select
from export.write import export


def main() -> int:
    """Console script; exit code 2 and one line for what can be put right."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["inspect"]:
        parser = argparse.ArgumentParser(prog="edge-export inspect", description="What a bundle holds, checked.")
        parser.add_argument("bundle", type=Path)
        parser.add_argument("--json", action="store_true")
        args = parser.parse_args(arguments[1:])
        return guarded("edge-export", lambda: _show(bundles.read(args.bundle), (), args.json))
    args = _parser().parse_args(arguments)
    return guarded("edge-export", lambda: _export(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edge-export",
        usage="edge-export MODEL.onnx|zoo:NAME[:ARGUMENT] -o BUNDLE [options]\n"
        "       edge-export inspect BUNDLE [--json]",
        description="Write the training step of a model as a graph of standard ONNX operators.",
        epilog=f"zoo: {', '.join(names('export.zoo'))}. Operators with a gradient: {', '.join(supported())}.",
    )
    parser.add_argument("model")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="folder to write")
    parser.add_argument(
        "--objective",
        default="cross_entropy",
        metavar="TERMS",
        help="e.g. 'cross_entropy + 1.0*squared_error(reference)', which d-distillation needs; default cross_entropy",
    )
    parser.add_argument(
        "--train", default="all", metavar="all|last:N|bias-only|PATTERN", help="which parameters to train"
    )
    parser.add_argument("--optimizer", default="sgd", metavar="|".join(names("export.optimizers")))
    parser.add_argument("--shape", default="1x28x28", metavar="CxHxW", help="of a sample, for zoo models")
    parser.add_argument("--classes", type=int, default=10, metavar="K", help="for zoo models; default 10")
    parser.add_argument("--seed", type=int, default=0, help="of a zoo model's starting parameters")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    return parser


def _export(args: argparse.Namespace) -> int:
    read = select(_model(args), args.train)
    written = export(read, args.output, objective=args.objective, optimizer=args.optimizer)
    return _show(written, read.notes, args.json)


def _model(args: argparse.Namespace) -> Model:
    kind, _, rest = args.model.partition(":")
    if kind != "zoo":
        return model.load(Path(args.model))
    try:
        shape = tuple(int(d) for d in args.shape.split("x"))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1 or args.classes < 2:
        raise ConfigError(
            f"--shape {args.shape} --classes {args.classes}: expected sizes as in 1x28x28, and 2 or more classes"
        )
    return zoo.build(rest, shape=shape, classes=args.classes, seed=args.seed)


def _show(found: Bundle, notes: tuple[str, ...], as_json: bool) -> int:
    facts = _facts(found, notes)
    if as_json:
        print(json.dumps(facts, indent=1))
        return 0
    console = Console()
    console.print(f"[bold]{facts['name']}[/] in {facts['bundle']}: all digests fit", highlight=False)
    for note in notes:
        console.print(f"  note: {note}", highlight=False)
    summary = Table(show_header=False, box=None)
    summary.add_row("sample -> classes", f"{'x'.join(map(str, facts['shape']))} -> {facts['classes']}")
    summary.add_row("objective", " + ".join(facts["objective"]))
    summary.add_row("optimizer", facts["optimizer"])
    summary.add_row("run-time inputs", ", ".join(facts["inputs"]))
    summary.add_row("scalars", ", ".join(f"{k} = {v:g}" for k, v in facts["hyper"].items()))
    summary.add_row("graph", f"{facts['train_nodes']} nodes to train, {facts['predict_nodes']} to predict")
    summary.add_row("operator set", f"{facts['opset']}, standard operators only")
    summary.add_row("size", f"{facts['bytes'] / 1000:.1f} kB")
    console.print(summary)
    table = Table("parameter", "shape")
    table.add_column("scalars", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    for row in facts["parameters"]:
        share = row["scalars"] / facts["scalars"]
        shape = "x".join(map(str, row["shape"]))
        table.add_row(row["name"], shape, f"{row['scalars']:,}", f"{share:.1%}", "" if row["trainable"] else "frozen")
    table.add_section()
    table.add_row("all", "", f"{facts['scalars']:,}", "")
    console.print(table)
    return 0


def _facts(found: Bundle, notes: tuple[str, ...]) -> dict[str, Any]:
    manifest = found.manifest
    graphs = {name: _operators(found.path / f"{name}.onnx") for name in ("train", "predict")}
    return {
        "bundle": str(found.path),
        "name": manifest.name,
        "notes": list(notes),
        "shape": list(manifest.shape),
        "classes": manifest.classes,
        "objective": list(manifest.objective),
        "optimizer": manifest.optimizer,
        "inputs": [t.name for t in manifest.inputs],
        "hyper": manifest.hyper,
        "state": [{"name": t.name, "shape": list(t.shape)} for t in manifest.state],
        "parameters": [
            {
                "name": p.name,
                "shape": list(p.shape),
                "scalars": p.size,
                "trainable": p.trainable,
                "statistic": p.statistic,
            }
            for p in manifest.parameters
        ],
        "scalars": manifest.size,
        "train_nodes": sum(graphs["train"].values()),
        "predict_nodes": sum(graphs["predict"].values()),
        "operators": dict(graphs["train"].most_common()),
        "opset": manifest.opset,
        "ir_version": manifest.ir_version,
        "model_digest": manifest.model_digest.hex(),
        "bytes": sum(f.stat().st_size for f in found.path.iterdir()),
    }


def _operators(path: Path) -> Counter[str]:
    try:
        return Counter(node.op_type for node in onnx.load(path).graph.node)
    except Exception as reason:  # whatever protobuf raises; the digest fitted, so the exporter wrote it so
        raise ExportError(f"{path} cannot be read: {reason}") from None


if __name__ == "__main__":
    sys.exit(main())
