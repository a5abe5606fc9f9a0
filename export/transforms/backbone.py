"""A .tflite file as the frozen backbone of a bundle (transfer learning): read, checked, cut where the features are."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import Backbone
from export.errors import ExportError

WHOLE, FLOAT = (np.int8, np.uint8), np.float32


@dataclass(frozen=True)
class Cut:
    """content: the file. facts: what the manifest says of it. features: how many numbers it gives for a sample."""

    content: bytes
    facts: Backbone
    features: int


def read(path: Path, output: str | None, low: float, high: float) -> Cut:
    """A backbone from a file.

    output: the tensor that holds the features; the model's own output unless told. low, high: what the samples' 0 and 1
    are for the model.

    Raises:
        ExportError: not there, no TFLite model, or one that takes something else than one image or vector.
    """
    from export.tflite.flatbuffer import Interpreter

    if not path.is_file():
        raise ExportError(f"--backbone: no file at {path}")
    if not low < high:
        raise ExportError(f"--backbone-range {low:g},{high:g}: expected two numbers, the smaller first")
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ExportError(f"--backbone: {path} is not a .tflite file")
    if output is not None:
        content = _cut(content, output, path)
    try:
        runtime = Interpreter(model_content=content, num_threads=1)
        runtime.allocate_tensors()
    except (RuntimeError, ValueError) as reason:
        raise ExportError(f"--backbone: TFLite cannot load {path}: {str(reason).splitlines()[0]}") from None
    given, made = runtime.get_input_details(), runtime.get_output_details()
    if len(given) != 1 or len(made) != 1:
        raise ExportError(
            f"--backbone: {path} has {len(given)} inputs and {len(made)} outputs; one each is expected: "
            "choose the output that holds the features with --backbone-output"
        )
    taken, gives = (tuple(int(d) for d in t[0]["shape"]) for t in (given, made))
    for what, tensor in (("takes", given[0]), ("gives", made[0])):
        if tensor["dtype"] not in (*WHOLE, FLOAT):
            raise ExportError(f"--backbone: {path} {what} {np.dtype(tensor['dtype'])}; int8, uint8 or float32 expected")
    if taken[0] != 1 or len(taken) not in (2, 4):
        raise ExportError(
            f"--backbone: {path} takes {list(taken)}; one image (1, H, W, C) or vector (1, n) is expected"
        )
    shape = (taken[3], taken[1], taken[2]) if len(taken) == 4 else taken[1:]
    return Cut(content, Backbone(shape=shape, range=(low, high)), prod(gives[1:]))


def _cut(content: bytes, output: str, path: Path) -> bytes:
    """The model up to one of its tensors, and no further."""
    from export.tflite.flatbuffer import prune, rewritten, schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    named: dict[str, int] = {_text(t.name): i for i, t in enumerate(graph.tensors)}
    made = {t for op in graph.operators for t in op.outputs}
    if output not in named or named[output] not in made:
        known = ", ".join(name for name, i in named.items() if i in made)
        raise ExportError(f"--backbone-output: {path} computes no '{output}'; it computes {known}")
    graph.outputs = [named[output]]
    prune(graph)
    model.signatureDefs = []
    return rewritten(model)


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
