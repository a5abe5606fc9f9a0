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


def facts(found: Bundle, notes: tuple[str, ...] = (), *, batch: int = 1) -> dict[str, Any]:
    """Everything, as plain values. Costs are of a step with `batch` rows of each batch the bundle takes."""
    manifest = found.manifest
    graphs = {name: _graph(found.path / f"{name}.onnx") for name in ("train", "predict")}
    spent = train_cost(found, graphs["train"], batch)
    trained = sum(p.size for p in manifest.parameters if p.trainable)
    return {
        "bundle": str(found.path),
        "name": manifest.name,
        "notes": list(notes),
        "shape": list(manifest.sample),
        "features": manifest.shape[0] if manifest.backbone else None,
        "tflite": manifest.tflite,
        "ort_training": any(name.startswith(ORT_TRAINING) for name in manifest.digests),
        "classes": manifest.classes,
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
        "distillation_macs": distillation(found, graphs["train"], batch),
        "activation_bytes": spent.activations,
        "parameter_bytes": 4 * manifest.size,
        "state_bytes": 4 * sum(s.size for s in manifest.state),
        "train_nodes": len(graphs["train"].graph.node),
        "predict_nodes": len(graphs["predict"].graph.node),
        "operators": dict(Counter(n.op_type for n in graphs["train"].graph.node).most_common()),
        "opset": manifest.opset,
        "ir_version": manifest.ir_version,
        "model_digest": manifest.model_digest.hex(),
        "bytes": sum(f.stat().st_size for f in found.path.iterdir() if f.is_file()),
    }


def train_cost(found: Bundle, graph: onnx.ModelProto, batch: int, reference: int | None = None) -> Cost:
    """Of one training step with `batch` rows of each batch, or as many of the reference set as are asked for."""
    rows = batch if reference is None else reference
    both = any(t.name == "reference_x" for t in found.manifest.inputs)
    return cost(graph, {"N": batch, "R": rows, "rows": batch + (rows if both else 0)})


def distillation(found: Bundle, graph: onnx.ModelProto, batch: int) -> int:
    """Multiply-accumulates of all phases that are for the reference rows' sake: every pass grows by the row."""
    if not any("R" in t.shape for t in found.manifest.inputs):
        return 0
    one, two = (sum(train_cost(found, graph, batch, rows).macs.values()) for rows in (1, 2))
    return batch * (two - one)


def show(found: Bundle, notes: tuple[str, ...] = (), *, batch: int = 1, saved: dict[str, Any] | None = None) -> None:
    """Print a summary and the parameter table. saved: the facts of the same bundle with all trained."""
    known = facts(found, notes, batch=batch)
    console = Console()
    console.print(f"[bold]{known['name']}[/] in {known['bundle']}: all digests fit", highlight=False)
    for note in notes:
        console.print(f"  note: {note}", highlight=False)
    summary = Table(show_header=False, box=None)
    stages = ["x".join(map(str, known["shape"])), str(known["classes"])]
    if known["features"]:
        stages.insert(1, f"{known['features']} features of the frozen backbone")
    summary.add_row("sample -> classes", " -> ".join(stages))
    if known["heads"] > 1:
        summary.add_row("heads", f"{known['heads']}, the main one and {known['heads'] - 1} auxiliary")
    if known["embedding"]:
        summary.add_row("embedding", "x".join(map(str, known["embedding"])))
    summary.add_row("objective", " + ".join(known["objective"]))
    summary.add_row("optimizer", known["optimizer"])
    summary.add_row("run-time inputs", ", ".join(known["inputs"]))
    summary.add_row("scalars", ", ".join(f"{k} = {v:g}" for k, v in known["hyper"].items()))
    summary.add_row("graph", f"{known['train_nodes']} nodes to train, {known['predict_nodes']} to predict")
    summary.add_row("operator set", f"{known['opset']}, standard operators only")
    spent = ", ".join(f"{known['macs'][phase] / 1e6:.3g} M {phase}" for phase in PHASES if known["macs"][phase])
    if known["distillation_macs"]:
        spent += f"; {known['distillation_macs'] / 1e6:.3g} M of it for reference rows"
    summary.add_row("multiply-accumulates", f"{spent} (batch {batch})")
    held = f"{known['activation_bytes'] / 1e6:.3g} MB activations (batch {batch}, planned)"
    summary.add_row(
        "memory",
        f"{known['parameter_bytes'] / 1e6:.3g} MB parameters, {known['state_bytes'] / 1e6:.3g} MB optimizer, {held}",
    )
    if saved is not None:
        summary.add_row("saved by freezing", _saved(known, saved))
    others = ["ONNX Runtime's training package"] if known["ort_training"] else []
    if known["tflite"]:
        others.insert(0, f"TFLite, batches of {' and '.join(f'{n} {k}' for k, n in _batches(known).items())} rows")
    summary.add_row("runtimes", ", ".join(["ONNX Runtime", *others]))
    summary.add_row("size", f"{known['bytes'] / 1000:.1f} kB")
    console.print(summary)
    table = Table("parameter", "shape")
    table.add_column("scalars", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    for row in known["parameters"]:
        share = row["scalars"] / known["scalars"]
        shape = "x".join(map(str, row["shape"]))
        role = "" if row["trainable"] else "measured" if row["statistic"] else "frozen"
        table.add_row(row["name"], shape, f"{row['scalars']:,}", f"{share:.1%}", role)
    table.add_section()
    share = known["trained_scalars"] / known["scalars"]
    table.add_row("all", "", f"{known['scalars']:,}", "", f"{share:.1%} trained" if share < 1 else "")
    console.print(table)


def _batches(known: dict[str, Any]) -> dict[str, int]:
    return {{"N": "private", "R": "reference"}[symbol]: rows for symbol, rows in known["tflite"].items()}


def plot(found: Bundle, *, batch: int = 1) -> None:
    """Print a bar chart: multiply-accumulates by layer, the most expensive ones."""
    spent = train_cost(found, _graph(found.path / "train.onnx"), batch)
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


def _saved(known: dict[str, Any], whole: dict[str, Any]) -> str:
    """How much less than training everything."""
    ours, full = sum(known["macs"].values()), sum(whole["macs"].values())
    memory, most = ((f["activation_bytes"] + f["state_bytes"]) / 1e6 for f in (known, whole))
    return (
        f"{(full - ours) / 1e6:.3g} of {full / 1e6:.3g} M multiply-accumulates ({1 - ours / full:.0%}), "
        f"{most - memory:.3g} of {most:.3g} MB activations and optimizer ({1 - memory / most:.0%})"
    )


def _graph(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except Exception as reason:  # whatever protobuf raises; the digest fitted, so the exporter wrote it so
        raise ExportError(f"{path} cannot be read: {reason}") from None
