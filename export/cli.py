"""`edge-export`: turn an ONNX model into a bundle that trains on a device.

edge-export MODEL.onnx|zoo:NAME[:ARGUMENT] -o BUNDLE
edge-export inspect BUNDLE
edge-export trained BUNDLE STATE -o MODEL.onnx|MODEL.tflite
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import bundle as bundles
from edge import data
from edge.arguments import CommandParser
from edge.command import guarded
from edge.errors import ConfigError
from edge.interfaces import SGD
from edge.labels import LEAST, declared
from edge.plugins import names
from edge.protocols import PROTOCOLS
from edge.specs import UpdateRule
from edge.task import TASKS
from export import load as loading
from export import trained, zoo
from export.errors import ExportError
from export.gradients import supported
from export.model import Model
from export.report.show import facts, plot, show
from export.training.assemble import Training
from export.training.placement import sample_shape
from export.training.update import Update
from export.transforms import backbone, batch_norm, heads, outputs
from export.transforms.split import split
from export.transforms.standardize import standardize
from export.transforms.trainable import select
from export.write import export, prepare, save

SHAPE, CLASSES = "1x28x28", 10


def main() -> int:
    """Run the console script; exit code 2 and one line for an error that the user can correct."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["inspect"]:
        args = _inspect_parser().parse_args(arguments[1:])
        return guarded("edge-export", lambda: _inspect(args))
    if arguments[:1] == ["trained"]:
        args = _trained_parser().parse_args(arguments[1:])
        return guarded("edge-export", lambda: _trained(args))
    args = _parser().parse_args(arguments)
    return guarded("edge-export", lambda: _export(args))


def _inspect_parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="edge-export inspect", description="Check a bundle and print its costs.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="rows a step, for costs; default 32")
    parser.add_argument("--plot", action="store_true", help="draw which layers the work goes to")
    parser.add_argument("--json", action="store_true")
    return parser


def _trained_parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="edge-export trained", description="Write a trained model as one file with plain inputs and outputs."
    )
    add = parser.add_argument
    add("bundle", type=Path, help="the model, as it was exported")
    add("state", type=Path, help="what was learnt: the checkpoint folder of edge-node or of a Trainer, or a file of it")
    add("-o", "--output", type=Path, required=True, metavar="MODEL.onnx|MODEL.tflite", help="file to write")
    add("--int8", metavar="npz:REFERENCE", help="quantise, with ranges of activations from these samples (ONNX only)")
    add("--rows", type=int, default=1, metavar="N", help="rows of a prediction, which TFLite fixes; default 1")
    add("--json", action="store_true")
    return parser


def _trained(args: argparse.Namespace) -> int:
    if args.rows < 1:
        raise ConfigError(f"--rows {args.rows}: expected 1 or more rows")
    file = trained.write(args.bundle, args.state, args.output, reference=args.int8, rows=args.rows)
    if args.json:
        print(json.dumps({"path": str(file.path), "kind": file.kind, "bytes": file.bytes}))
    else:
        print(f"wrote {file.path}: {file.kind}, {file.bytes:,} bytes")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="edge-export",
        usage="edge-export MODEL.onnx|zoo:NAME[:ARGUMENT] -o BUNDLE [options]\n"
        "       edge-export inspect BUNDLE [--batch N] [--plot] [--json]\n"
        "       edge-export trained BUNDLE STATE -o MODEL.onnx|MODEL.tflite [--int8 npz:REFERENCE] [--json]",
        description="Write the training step of a model as a graph of standard ONNX operators.",
        epilog=f"zoo: {', '.join(names('export.zoo'))}. Operators with a gradient: {', '.join(supported())}.",
    )
    add = parser.add_argument
    add("model")
    add("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="folder to write")
    add(
        "--objective",
        default="isolated",
        metavar="TERMS|PROTOCOL",
        help="e.g. 'cross_entropy + 1.0*squared_error(reference)', or the protocol it is for: d-distillation; default: "
        "the task's loss alone",
    )
    add("--task", metavar="|".join(TASKS), help="what the model is for; default: as --objective or the graph says")
    add("--logits", metavar="NAME", help="the output to train, where a model has several")
    add("--keep-ties", action="store_true", help="a weight that several nodes read is one parameter (ONNX files)")
    add("--train", default="all", metavar="all|last:N|bias-only|lora:R|PATTERN,...", help="which to train; !X: not X")
    add("--freeze", metavar="PATTERN,...", help="parameters that are not trained")
    add("--batch-norm", default="as-is", metavar="|".join(batch_norm.MODES), help="as-is: what the model says")
    add("--heads", type=int, default=0, metavar="H", help="auxiliary heads on the embedding")
    add("--embedding", metavar="NAME", help="a value or node that predict gives too; chosen automatically for --heads")
    add("--split-at", metavar="NAME", help="cut here: BUNDLE/edge gives features, BUNDLE/server takes them")
    add("--edge", metavar="MODEL", help="with --split-at: the device's model, with a value of that name and shape")
    suited = "default: what suits the protocol of --objective (d-distillation: nesterov, clipped to 1), or sgd"
    add("--optimizer", metavar="|".join(names("export.optimizers")), help=suited)
    add("--weight-decay", type=float, metavar="X", help="add X times the parameter to its gradient")
    add("--clip-norm", type=float, metavar="X", help="scale all gradients together down to a norm of X")
    add("--accumulate", action="store_true", help="average gradients; parameters move where the scalar apply is 1")
    add("--recompute", type=int, default=1, metavar="K", help="keep activations of the last of K segments only")
    add("--ort-training", action="store_true", help="also write ONNX Runtime's own training artifacts")
    add("--tflite", metavar="N[,R]", help="also write model.tflite, for N private and R reference rows a step")
    add("--standardize", metavar="SOURCE", help="scale the input as this reference set needs it: npz:PATH, csv:PATH...")
    add("--backbone", type=Path, metavar="FILE.tflite", help="computes features of samples; the model is its head")
    add("--backbone-output", metavar="TENSOR", help="the tensor that holds the features; default: its output")
    add("--backbone-range", default="0,1", metavar="LOW,HIGH", help="what the samples' 0 and 1 are for it; default 0,1")
    add("--shape", metavar="CxHxW", help=f"of a sample: fixes an ONNX file's free axes; zoo models: {SHAPE}")
    add("--dim", metavar="NAME=SIZE", action="append", default=[], help="fix an ONNX file's free axis; repeatable")
    classes = f"how many there are, or what they are called in the order of their numbers; zoo models: {CLASSES}"
    add("--classes", metavar="K|NAME,NAME,...", help=classes)
    add("--seed", type=int, default=0, help="of initial values: a zoo model's, new heads', lora's")
    add("--json", action="store_true", help="one JSON object instead of tables")
    return parser


def _inspect(args: argparse.Namespace) -> int:
    if args.batch < 1:
        raise ConfigError(f"--batch {args.batch}: expected 1 or more rows")
    bundle = bundles.read(args.bundle)
    if args.json:
        print(json.dumps(facts(bundle, batch=args.batch), indent=1))
    elif args.plot:
        plot(bundle, batch=args.batch)
    else:
        show(bundle, batch=args.batch)
    return 0


@dataclass(frozen=True)
class Prepared:
    """A bundle that is ready to be written."""

    model: Model
    whole: Model
    """the same with everything trained"""
    training: Training
    objective: str


def _export(args: argparse.Namespace) -> int:
    update = _update(args)
    # Everything is computed before anything is written, so that a split is there as a whole or not at all.
    ready = _prepare(args, update)
    reports = []
    for folder, prepared in ready.items():
        written = save(prepared.training, prepared.model, folder)
        whole = _costs(prepared.whole, prepared.objective, update) if _selection(args) != "all" else None
        if args.json:
            reports.append(facts(written) | ({} if whole is None else {"if_all_were_trained": whole}))
        else:
            show(written, whole=whole)
    if args.json:
        one = reports[0] if len(reports) == 1 else dict(zip(("edge", "server"), reports, strict=True))
        print(json.dumps(one, indent=1))
    return 0


def _update(args: argparse.Namespace) -> Update:
    rule = UpdateRule(args.optimizer or SGD)
    if args.optimizer is None and args.objective in PROTOCOLS.names() and not args.ort_training:
        spec = PROTOCOLS.load(args.objective)
        rule = spec.update(spec.settings())
    return Update(
        rule.optimizer, rule.clip_norm if args.clip_norm is None else args.clip_norm, args.weight_decay, args.accumulate
    )


def _prepare(args: argparse.Namespace, update: Update) -> dict[Path, Prepared]:
    """Everything that is to be written, by folder."""
    kind = outputs.named(args.objective, args.task)
    least = LEAST if kind is None or kind.classes else 1
    args.classes, class_names = declared(args.classes, least) if args.classes is not None else (None, ())
    frozen = _backbone(args) if args.backbone else None
    if frozen:
        if args.standardize:
            raise ConfigError("--backbone scales its samples itself (--backbone-range); leave out --standardize")
        if args.shape or args.split_at:
            raise ConfigError("--backbone says what the model takes; leave out --shape and --split-at")
        args.shape = str(frozen.features)
    models = _models(args)
    rows = _rows(args.tflite)
    ready = {}
    for folder, model in models.items():
        model, objective = outputs.meant(model, args.objective, args.task, args.classes)
        chosen, whole = _transformed(args, model)
        training = prepare(
            chosen,
            objective=objective,
            optimizer=update,
            segments=args.recompute,
            rows=rows,
            official=args.ort_training,
            backbone=frozen,
            class_names=class_names,
        )
        ready[folder] = Prepared(chosen, whole, training, objective)
    return ready


def _models(args: argparse.Namespace) -> dict[Path, Model]:
    """The model, or the two parts of a split, by folder."""
    whole = _model(args, args.model)
    if not 1 <= args.recompute <= 64:
        raise ConfigError(f"--recompute {args.recompute}: expected 1 (keep all) to 64 segments")
    if not args.split_at:
        if args.edge:
            raise ConfigError("--edge is the device's model of a split; it needs --split-at")
        return {args.output: whole}
    edge = _model(args, args.edge) if args.edge else None
    parts = split(whole, args.split_at, edge=edge, seed=args.seed)
    return {args.output / name: part for name, part in zip(("edge", "server"), parts, strict=True)}


def _backbone(args: argparse.Namespace) -> backbone.FrozenBackbone:
    try:
        low, high = map(float, args.backbone_range.split(","))
    except ValueError:
        raise ConfigError(f"--backbone-range {args.backbone_range}: expected two numbers, as in -1,1") from None
    return backbone.read(args.backbone, args.backbone_output, low, high)


def _rows(text: str | None) -> tuple[int, ...]:
    """The rows of a private and of a reference batch; none if they are not given."""
    parts = text.split(",") if text else []
    if len(parts) > 2 or not all(p.strip().isdigit() and int(p) > 0 for p in parts):
        raise ConfigError(f"--tflite {text}: expected rows of a private batch, and of a reference batch: 32 or 32,64")
    return tuple(int(p) for p in parts)


def _transformed(args: argparse.Namespace, model: Model) -> tuple[Model, Model]:
    """(the model as it is to be trained, the same with everything trained)."""
    if args.embedding:
        model = heads.embed(model, args.embedding)
    model = heads.add(model, args.heads, seed=args.seed)
    model = batch_norm.select(model, args.batch_norm)
    if args.classes and not args.model.startswith("zoo:"):
        (classes,) = sample_shape(model, model.output) or (0,)
        if classes != args.classes:
            raise ExportError(
                f"{args.model} gives {classes} logits, and --classes says {args.classes}; replace its last layer, "
                "or number your labels to fit"
            )
    return select(model, _selection(args), seed=args.seed), model


def _selection(args: argparse.Namespace) -> str:
    """What --train and --freeze say together."""
    if not args.freeze:
        return str(args.train)
    if args.train.startswith("lora:"):
        raise ConfigError(f"--train {args.train} freezes everything already; leave out --freeze")
    return ",".join([args.train, *(f"!{part}" for part in args.freeze.split(","))])


def _costs(model: Model, objective: str, update: Update) -> dict[str, Any]:
    """The costs of a bundle that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        report = facts(export(model, Path(folder) / "whole", objective=objective, optimizer=update))
    return {k: report[k] for k in ("macs", "activation_bytes", "state_bytes")}


def _model(args: argparse.Namespace, spec: str) -> Model:
    model = _loaded(args, spec)
    return (
        standardize(model, data.samples(args.standardize, model.shape), args.standardize) if args.standardize else model
    )


def _loaded(args: argparse.Namespace, spec: str) -> Model:
    kind, _, rest = spec.partition(":")
    if kind != "zoo":
        shape = _sizes(args.shape) if args.shape and not args.backbone else None
        task = outputs.named(args.objective, args.task)
        known: dict[str, Any] = {"dims": _dims(args.dim), "shape": shape, "task": task.name if task else None}
        return loading.load(Path(spec), args.logits, keep_ties=args.keep_ties, **known)
    if args.keep_ties:
        raise ConfigError(f"--keep-ties is for ONNX files; {spec} has no shared weights")
    if args.dim:
        raise ConfigError(f"--dim {args.dim[0]} is for ONNX files; of {spec} --shape says all")
    classes = CLASSES if args.classes is None else args.classes
    return zoo.build(rest, shape=_sizes(args.shape or SHAPE), classes=classes, seed=args.seed)


def _sizes(text: str) -> tuple[int, ...]:
    """The shape of a sample."""
    parts = text.split("x")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(f"--shape {text}: expected sizes as in {SHAPE}")
    return tuple(map(int, parts))


def _dims(texts: Sequence[str]) -> dict[str, int]:
    """Sizes of free axes by name."""
    sizes: dict[str, int] = {}
    for text in texts:
        name, _, size = text.rpartition("=")
        if not name or not size.isdecimal() or not int(size):
            raise ConfigError(f"--dim {text}: expected a name and a size, as in --dim sequence=128")
        if sizes.setdefault(name, int(size)) != int(size):
            raise ConfigError(f"--dim {text}: {name} was {sizes[name]} before; give it once")
    return sizes


if __name__ == "__main__":
    sys.exit(main())
