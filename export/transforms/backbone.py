"""Read a .tflite file as the frozen backbone of a bundle (transfer learning), cut where the features are."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import Backbone
from export.errors import ExportError

SUPPORTED = (np.int8, np.uint8, np.float32)


@dataclass(frozen=True)
class FrozenBackbone:
    """A network that computes the features which a model takes."""

    content: bytes
    """the file"""
    manifest: Backbone
    """what the bundle's manifest says of it"""
    features: int
    """how many numbers it computes for one sample"""


def read(path: Path, output: str | None, low: float, high: float) -> FrozenBackbone:
    """Read a backbone from a file.

    Args:
        path: a .tflite file with one input and one output.
        output: the tensor that holds the features; the model's own output if None.
        low: what a sample's 0 is for the model.
        high: what a sample's 1 is for the model.

    Returns:
        The backbone, cut after its features.

    Raises:
        ExportError: the file is missing, no TFLite model, or takes something else than one image or vector.
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
    takes, gives = _interface(runtime, path)
    if takes[0] != 1 or len(takes) not in (2, 4):
        raise ExportError(
            f"--backbone: {path} takes {list(takes)}; one image (1, H, W, C) or vector (1, n) is expected"
        )
    shape = (takes[3], takes[1], takes[2]) if len(takes) == 4 else takes[1:]
    return FrozenBackbone(content, Backbone(shape=shape, range=(low, high)), prod(gives[1:]))


def _interface(runtime: Any, path: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shapes of the only input and the only output."""
    inputs, outputs = runtime.get_input_details(), runtime.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ExportError(
            f"--backbone: {path} has {len(inputs)} inputs and {len(outputs)} outputs; one each is expected: "
            "choose the output that holds the features with --backbone-output"
        )
    for verb, tensor in (("takes", inputs[0]), ("gives", outputs[0])):
        if tensor["dtype"] not in SUPPORTED:
            raise ExportError(f"--backbone: {path} {verb} {np.dtype(tensor['dtype'])}; int8, uint8 or float32 expected")
    takes, gives = (tuple(int(d) for d in tensors[0]["shape"]) for tensors in (inputs, outputs))
    return takes, gives


def _cut(content: bytes, output: str, path: Path) -> bytes:
    """The model up to one of its tensors, and no further."""
    from export.tflite.flatbuffer import prune, rewritten, schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    graph = model.subgraphs[0]
    named: dict[str, int] = {_text(t.name): i for i, t in enumerate(graph.tensors)}
    computed = {t for op in graph.operators for t in op.outputs}
    if output not in named or named[output] not in computed:
        known = ", ".join(name for name, i in named.items() if i in computed)
        raise ExportError(f"--backbone-output: {path} computes no '{output}'; it computes {known}")
    graph.outputs = [named[output]]
    prune(graph)
    model.signatureDefs = []
    return rewritten(model)


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
