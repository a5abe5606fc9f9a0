"""The training step as a .tflite file, for boards where even ONNX Runtime is too big.

One file has two signatures over one set of constants: `train` (batch, scalars, parameters, state -> losses, next ...)
and `predict` (x, parameters -> logits, probabilities, ...), with the names of the bundle's ONNX graphs. Only built-in
operators occur, so `tflite-runtime` and `ai-edge-litert` run it as it is. Batch sizes are fixed.

>>> batches([{"name": "x", "shape": ("N", 64)}, {"name": "reference_x", "shape": ("R", 64)}], [32, 16])
{'N': 32, 'R': 16}
"""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from export.errors import ExportError
from export.graph.rewrite import TFLITE
from export.graph.shape_folding import sized
from export.model import Model
from export.training.assemble import assemble
from export.training.update import Update


def batches(inputs: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> dict[str, int]:
    """Match numbers of rows with the batches that a step takes.

    Args:
        inputs: of a step, as in the manifest.
        rows: of a private batch, and of a reference batch if there is one.

    Returns:
        The rows by the name of the batch axis: "N" private, "R" reference.

    Raises:
        ExportError: there are more or fewer numbers than batches.
    """
    symbols = dict.fromkeys(str(i["shape"][0]) for i in inputs)
    if len(rows) != len(symbols):
        wanted = " and ".join({"N": "a private", "R": "a reference"}[s] for s in symbols)
        raise ExportError(f"--tflite: a step of this objective takes {wanted} batch; {len(rows)} sizes were given")
    return dict(zip(symbols, rows, strict=True))


def build(model: Model, objective: str, optimizer: str | Update, rows: Mapping[str, int]) -> bytes:
    """Write the file.

    Args:
        model: what is trained.
        objective: the terms, as in "cross_entropy + 1.0*squared_error(reference)".
        optimizer: its name, or an update with clipping, weight decay or accumulation.
        rows: of a private batch, "N", which a prediction takes too, and of a reference batch, "R".

    Returns:
        The content of model.tflite.

    Raises:
        ExportError: TFLite has no such operator, or the schema's package is not installed.
    """
    if model.others or model.dtype != "float32":
        raise ExportError("--tflite: the file takes one float32 array, and the model something else; leave it out")
    training = assemble(model, objective=objective, optimizer=optimizer, target=TFLITE)
    known = {**rows, "rows": sum(rows.values())}
    return lowered(model.name, {"train": training.train, "predict": training.predict}, known)


def lowered(name: str, graphs: Mapping[str, onnx.ModelProto], sizes: Mapping[str, int]) -> bytes:
    """Lower graphs to one file.

    Args:
        name: what the file calls itself.
        graphs: by the name of their signature.
        sizes: a number for each symbolic dimension.

    Returns:
        The file.

    Raises:
        ExportError: TFLite has no such operator, or the schema's package is not installed.
    """
    from export.tflite import flatbuffer, operators  # noqa: F401 - only now, since they need `ai-edge-litert`
    from export.tflite.lower import Lowering

    file = flatbuffer.File(f"murmur: {name}")
    for key, proto in graphs.items():
        op, graph = sized(proto, sizes), file.subgraph(key)
        lowering = Lowering(op, graph)
        # Scalars come in as vectors of one: on ARM, ai-edge-litert 2.3 crashes where a signature is given a scalar.
        inputs = {
            i.name: graph.tensor(lowering.shape(i.name) or (1,), lowering.dtype(i.name)) for i in proto.graph.input
        }
        for value, tensor in inputs.items():
            lowering.keep(value, lowering.reshaped(tensor, lowering.shape(value)))
        lowering.run()
        graph.finish(key, inputs, {o.name: lowering.tensor(o.name) for o in proto.graph.output})
    content = file.content()
    flatbuffer.check(content)
    return content
