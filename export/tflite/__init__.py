"""The training step as a .tflite file, for boards where even ONNX Runtime is too big.

One file, two signatures over one set of constants: `train` (batch, scalars, parameters, state -> losses, next ...)
and `predict` (x, parameters -> logits, probabilities, ...), with the names of the bundle's ONNX graphs. Built-in
operators only, so `tflite-runtime` and `ai-edge-litert` run it as they are. Batch sizes are fixed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from export.errors import ExportError
from export.graph.shape_folding import sized
from export.model import Model
from export.training.assemble import assemble
from export.training.update import Update


def batches(inputs: Sequence[Mapping[str, Any]], rows: Sequence[int]) -> dict[str, int]:
    """Rows by the name that the batch axis has in the inputs of a step: "N" private, "R" reference."""
    symbols = dict.fromkeys(str(i["shape"][0]) for i in inputs)
    if len(rows) != len(symbols):
        wanted = " and ".join({"N": "a private", "R": "a reference"}[s] for s in symbols)
        raise ExportError(f"--tflite: a step of this objective takes {wanted} batch; {len(rows)} sizes were given")
    return dict(zip(symbols, rows, strict=True))


def build(model: Model, objective: str, optimizer: str | Update, rows: Mapping[str, int]) -> bytes:
    """The file. rows: of a private batch, "N", which a prediction takes too, and of a reference batch, "R".

    Raises:
        ExportError: an operator that TFLite has not, or the schema's package is not there.
    """
    training = assemble(model, objective=objective, optimizer=optimizer, target="tflite")
    known = {**rows, "rows": sum(rows.values())}
    return lowered(model.name, {"train": training.train, "predict": training.predict}, known)


def lowered(name: str, graphs: Mapping[str, onnx.ModelProto], sizes: Mapping[str, int]) -> bytes:
    """A file of a signature each graph, with numbers for their symbolic dimensions. Raises ExportError."""
    from export.tflite import flatbuffer, operators  # noqa: F401 - only now, as they need `ai-edge-litert`
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
