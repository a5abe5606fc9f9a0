"""What a bundle holds and costs, for people and for machines."""

from collections import Counter
from pathlib import Path
from typing import Any

import onnx
from rich.bar import Bar
from rich.console import Console
from rich.table import Table

from edge.bundle import ORT_TRAINING, Bundle
from export.errors import ExportError
from export.report.cost import PHASES, Cost, cost

WIDEST = 24
"""layers that a chart shows"""


def facts(bundle: Bundle, *, batch: int = 1) -> dict[str, Any]:
    """List everything about a bundle as plain values.

    Args:
        bundle: a bundle that was read.
        batch: rows of each batch that a step takes, for the costs.

    Returns:
        What `edge-export inspect --json` prints.

    Raises:
        ExportError: a graph cannot be read.
    """
    manifest = bundle.manifest
    graphs = {name: _graph(bundle.path / f"{name}.onnx") for name in ("train", "predict")}
    spent = train_cost(bundle, graphs["train"], batch)
    trained = sum(p.size for p in manifest.parameters if p.trainable)
    return {
        "bundle": str(bundle.path),
        "name": manifest.name,
        "notes": list(manifest.notes),
        "shape": list(manifest.sample),
        "features": manifest.shape[0] if manifest.backbone else None,
        "tflite": manifest.tflite,
        "ort_training": any(name.startswith(ORT_TRAINING) for name in manifest.digests),
        "classes": manifest.classes,
        "class_names": None if manifest.class_names is None else list(manifest.class_names),
        "standardization": None if manifest.standardization is None else manifest.standardization.model_dump(),
        "heads": manifest.heads,
        "embedding": None if manifest.embedding is None else list(manifest.embedding),
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
        "trained_scalars": trained,
        "batch": batch,
        "macs": spent.macs,
        "distillation_macs": distillation_macs(bundle, graphs["train"], batch),
        "activation_bytes": spent.activations,
        "parameter_bytes": 4 * manifest.size,
        "state_bytes": 4 * sum(s.size for s in manifest.state),
        "train_nodes": len(graphs["train"].graph.node),
        "predict_nodes": len(graphs["predict"].graph.node),
        "operators": dict(Counter(n.op_type for n in graphs["train"].graph.node).most_common()),
        "opset": manifest.opset,
        "ir_version": manifest.ir_version,
        "model_digest": manifest.model_digest.hex(),
        "bytes": sum(f.stat().st_size for f in bundle.path.iterdir() if f.is_file()),
    }


def train_cost(bundle: Bundle, graph: onnx.ModelProto, batch: int, reference: int | None = None) -> Cost:
    """Count one training step.

    Args:
        bundle: the bundle.
        graph: its training graph.
        batch: rows of the private batch.
        reference: rows of the reference batch; as many as of the private one if None.
    """
    rows = batch if reference is None else reference
    both = any(t.name == "reference_x" for t in bundle.manifest.inputs)
    return cost(graph, {"N": batch, "R": rows, "rows": batch + (rows if both else 0)})


def distillation_macs(bundle: Bundle, graph: onnx.ModelProto, batch: int) -> int:
    """Count the multiply-accumulates that a step spends on its reference rows, in all phases.

    Every pass grows by the same amount with each row, so two steps of 1 and 2 reference rows tell it.
    """
    if not any("R" in t.shape for t in bundle.manifest.inputs):
        return 0
    one, two = (sum(train_cost(bundle, graph, batch, rows).macs.values()) for rows in (1, 2))
    return batch * (two - one)


def show(bundle: Bundle, *, batch: int = 1, whole: dict[str, Any] | None = None) -> None:
    """Print a summary and the parameter table.

    Args:
        bundle: the bundle.
        batch: rows of each batch that a step takes, for the costs.
        whole: the costs of the same bundle with everything trained.
    """
    report = facts(bundle, batch=batch)
    console = Console()
    console.print(f"[bold]{report['name']}[/] in {report['bundle']}: checksums OK", highlight=False)
    for note in report["notes"]:
        console.print(f"  note: {note}", highlight=False)
    summary = Table(show_header=False, box=None)
    stages = ["x".join(map(str, report["shape"])), str(report["classes"])]
    if report["features"]:
        stages.insert(1, f"{report['features']} features of the frozen backbone")
    summary.add_row("sample -> classes", " -> ".join(stages))
    if report["class_names"]:
        summary.add_row("class names", ", ".join(report["class_names"]))
    if report["heads"] > 1:
        summary.add_row("heads", f"{report['heads']}, the main one and {report['heads'] - 1} auxiliary")
    if report["embedding"]:
        summary.add_row("embedding", "x".join(map(str, report["embedding"])))
    summary.add_row("objective", " + ".join(report["objective"]))
    summary.add_row("optimizer", report["optimizer"])
    summary.add_row("run-time inputs", ", ".join(report["inputs"]))
    summary.add_row("scalars", ", ".join(f"{k} = {v:g}" for k, v in report["hyper"].items()))
    summary.add_row("graph", f"{report['train_nodes']} nodes to train, {report['predict_nodes']} to predict")
    summary.add_row("operator set", f"{report['opset']}, standard operators only")
    spent = ", ".join(f"{report['macs'][phase] / 1e6:.3g} M {phase}" for phase in PHASES if report["macs"][phase])
    if report["distillation_macs"]:
        spent += f"; {report['distillation_macs'] / 1e6:.3g} M of it for reference rows"
    summary.add_row("multiply-accumulates", f"{spent} (batch {batch})")
    held = f"{report['activation_bytes'] / 1e6:.3g} MB activations (batch {batch}, planned)"
    summary.add_row(
        "memory",
        f"{report['parameter_bytes'] / 1e6:.3g} MB parameters, {report['state_bytes'] / 1e6:.3g} MB optimizer, {held}",
    )
    if whole is not None:
        summary.add_row("saved by freezing", _saved(report, whole))
    others = ["ONNX Runtime's training package"] if report["ort_training"] else []
    if report["tflite"]:
        others.insert(0, f"TFLite, batches of {' and '.join(f'{n} {k}' for k, n in _batches(report).items())} rows")
    summary.add_row("runtimes", ", ".join(["ONNX Runtime", *others]))
    summary.add_row("size", f"{report['bytes'] / 1000:.1f} kB")
    console.print(summary)
    table = Table("parameter", "shape")
    table.add_column("scalars", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    for row in report["parameters"]:
        share = row["scalars"] / report["scalars"]
        shape = "x".join(map(str, row["shape"]))
        role = "" if row["trainable"] else "measured" if row["statistic"] else "frozen"
        table.add_row(row["name"], shape, f"{row['scalars']:,}", f"{share:.1%}", role)
    table.add_section()
    share = report["trained_scalars"] / report["scalars"]
    table.add_row("all", "", f"{report['scalars']:,}", "", f"{share:.1%} trained" if share < 1 else "")
    console.print(table)


def _batches(report: dict[str, Any]) -> dict[str, int]:
    return {{"N": "private", "R": "reference"}[symbol]: rows for symbol, rows in report["tflite"].items()}


def plot(bundle: Bundle, *, batch: int = 1) -> None:
    """Print a bar chart of the layers that take the most multiply-accumulates.

    Args:
        bundle: the bundle.
        batch: rows of each batch that a step takes.
    """
    spent = train_cost(bundle, _graph(bundle.path / "train.onnx"), batch)
    layers = sorted((layer for layer in spent.layers if layer.macs), key=lambda layer: -layer.macs)
    rest = sum(layer.macs for layer in layers[WIDEST:])
    table = Table(title=f"multiply-accumulates of a step, batch {batch}", box=None, expand=True)
    for heading in ("layer", "operator", "phase"):
        table.add_column(heading, no_wrap=True)
    table.add_column("M", justify="right")
    table.add_column("", ratio=1)
    for layer in layers[:WIDEST]:
        bar = Bar(layers[0].macs, 0, layer.macs)
        table.add_row(layer.name.removeprefix("model/"), layer.op_type, layer.phase, f"{layer.macs / 1e6:.3g}", bar)
    if rest:
        table.add_row(f"{len(layers) - WIDEST} more", "", "", f"{rest / 1e6:.3g}", Bar(layers[0].macs, 0, rest))
    Console().print(table)


def _saved(report: dict[str, Any], whole: dict[str, Any]) -> str:
    """How much less than training everything costs."""
    ours, full = sum(report["macs"].values()), sum(whole["macs"].values())
    memory, most = ((f["activation_bytes"] + f["state_bytes"]) / 1e6 for f in (report, whole))
    return (
        f"{(full - ours) / 1e6:.3g} of {full / 1e6:.3g} M multiply-accumulates ({1 - ours / full:.0%}), "
        f"{most - memory:.3g} of {most:.3g} MB activations and optimizer ({1 - memory / most:.0%})"
    )


def _graph(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except Exception as reason:  # whatever protobuf raises; the checksum was right, so the exporter wrote it like this
        raise ExportError(f"{path} cannot be read: {reason}") from None
