"""Write a .tflite file: tensors, operators, subgraphs and signatures, through the schema's own object API.

The schema's Python classes come with `ai-edge-litert`; no TensorFlow, no converter.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from export.errors import ExportError
from export.graph.builder import Array

try:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter
except ImportError as reason:  # reported where TFLite is asked for
    raise ExportError(f"--tflite needs {reason.name}: pip install 'murmur-edge[export,tflite]'") from None

__all__ = ["File", "Interpreter", "Subgraph", "check", "prune", "rewritten", "schema"]
TYPES = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32, "bool": schema.TensorType.BOOL}


class File:
    """A model of several subgraphs, each one signature. Equal constants are stored once."""

    def __init__(self, description: str) -> None:
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.description = description
        self._model.buffers, self._model.operatorCodes = [schema.BufferT()], []
        self._model.subgraphs, self._model.signatureDefs = [], []
        self._codes: dict[tuple[str, int], int] = {}
        self._buffers: dict[bytes, int] = {}

    def subgraph(self, name: str) -> "Subgraph":
        """Begin a subgraph."""
        graph = schema.SubGraphT()
        graph.name, graph.tensors, graph.operators, graph.inputs, graph.outputs = name, [], [], [], []
        self._model.subgraphs.append(graph)
        return Subgraph(self, graph, len(self._model.subgraphs) - 1)

    def sign(self, key: str, index: int, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
        """Make subgraph `index` callable as `key`, its tensors by name."""
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = key, index
        signature.inputs, signature.outputs = (
            [schema.TensorMapT(name, tensor) for name, tensor in named.items()] for named in (inputs, outputs)
        )
        self._model.signatureDefs.append(signature)

    def code(self, operator: str, version: int) -> int:
        """The number of a built-in operator in this file."""
        if (operator, version) not in self._codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode = getattr(schema.BuiltinOperator, operator)
            entry.deprecatedBuiltinCode = min(entry.builtinCode, 127)  # where readers before schema 3a look
            entry.version = version
            self._codes[operator, version] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(entry)
        return self._codes[operator, version]

    def buffer(self, content: bytes) -> int:
        """The number of a buffer with this content."""
        if content not in self._buffers:
            entry = schema.BufferT()
            entry.data = np.frombuffer(content, np.uint8)
            self._buffers[content] = len(self._model.buffers)
            self._model.buffers.append(entry)
        return self._buffers[content]

    def content(self) -> bytes:
        """The file."""
        return rewritten(self._model)


def rewritten(model: Any) -> bytes:
    """The bytes of a model of the schema's object API."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def prune(graph: Any) -> None:
    """Drop what the outputs of a subgraph do not need."""
    needed, kept = set(graph.outputs), []
    for entry in reversed(graph.operators):
        if needed.intersection(entry.outputs):
            needed.update(entry.inputs)
            kept.append(entry)
    graph.operators = kept[::-1]


class Subgraph:
    """One graph under construction. A tensor is its number."""

    def __init__(self, file: File, graph: Any, index: int) -> None:
        self._file, self._graph, self.index = file, graph, index
        self._constants: dict[tuple[str, tuple[int, ...], bytes], int] = {}
        self._emitted: dict[str, int] = {}

    def tensor(self, shape: Iterable[int], dtype: Any = np.float32, name: str = "", buffer: int = 0) -> int:
        """Declare a tensor; `buffer` 0 means that its content comes at run time."""
        entry = schema.TensorT()
        entry.shape, entry.type, entry.buffer = [int(d) for d in shape], TYPES[np.dtype(dtype).name], buffer
        entry.name = name or f"value_{len(self._graph.tensors)}"
        self._graph.tensors.append(entry)
        return len(self._graph.tensors) - 1

    def constant(self, value: Array | Sequence[float] | float, dtype: Any = np.int32) -> int:
        """A constant; equal ones are the same tensor. Integers by default, since most are shapes and axes."""
        array = np.asarray(value, dtype)
        content = np.ascontiguousarray(array).tobytes()
        key = (array.dtype.str, array.shape, content)
        if key not in self._constants:
            self._constants[key] = self.tensor(array.shape, array.dtype, buffer=self._file.buffer(content))
        return self._constants[key]

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The sizes of a tensor's axes, as they lie in memory."""
        return tuple(self._graph.tensors[tensor].shape)

    def dtype(self, tensor: int) -> Any:
        """The element type of a tensor."""
        kind = self._graph.tensors[tensor].type
        return np.dtype(next(name for name, code in TYPES.items() if code == kind))

    def emit(
        self,
        operator: str,
        inputs: Sequence[int],
        shape: Iterable[int],
        dtype: Any = np.float32,
        *,
        version: int = 1,
        options: str | None = None,
        **settings: Any,
    ) -> int:
        """Append a built-in operator with one result, of this shape; an equal one that exists already is reused.

        options: its options table in the schema, without "Options"; settings: what to set in it.
        """
        key = repr((operator, inputs, tuple(shape := list(shape)), np.dtype(dtype), version, sorted(settings.items())))
        if key in self._emitted:
            return self._emitted[key]
        entry = schema.OperatorT()
        entry.opcodeIndex = self._file.code(operator, version)
        result = self._emitted[key] = self.tensor(shape, dtype)
        entry.inputs, entry.outputs = list(inputs), [result]
        if options is not None:
            table = getattr(schema, f"{options}OptionsT")()
            for name, value in settings.items():
                if not hasattr(table, name):
                    raise AttributeError(f"{options}Options has no {name}")
                setattr(table, name, value)
            entry.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
            entry.builtinOptions = table
        self._graph.operators.append(entry)
        return result

    def finish(self, key: str, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
        """Name the inputs and outputs, and drop what no output needs."""
        graph = self._graph
        graph.inputs, graph.outputs = list(inputs.values()), list(outputs.values())
        prune(graph)
        for named in (inputs, outputs):
            for name, tensor in named.items():
                graph.tensors[tensor].name = f"{key}/{name}"
        self._file.sign(key, self.index, inputs, outputs)


def check(content: bytes) -> None:
    """Load the file, so that a runtime checks every operator and every shape.

    Args:
        content: a .tflite file.

    Raises:
        ExportError: the runtime refuses it.
    """
    try:
        interpreter = Interpreter(model_content=content, num_threads=1)
        for signature in interpreter.get_signature_list():
            interpreter.get_signature_runner(signature)
    except (RuntimeError, ValueError) as reason:
        raise ExportError(f"--tflite: the runtime refuses what was written: {str(reason).splitlines()[0]}") from None
