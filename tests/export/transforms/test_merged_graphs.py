"""Random graphs as exporters write them: equal initializers merged, masks and numbers among them.

What the engine takes off a parameter in one step of SGD must be the gradient of the function in which every layer has
weights of its own, by central differences in float64. Masks and numbers must not be trained.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edge.engines.onnx_runtime import create
from export.load import from_proto
from export.write import export

Array = npt.NDArray[Any]
Slot = tuple[str, int]
"""A node's name and the place of one of its inputs: what is a parameter of its own."""
TOKENS, D, CLASSES = 3, 4, 3
LABELS = np.array([0, 2, 1, 2])
KINDS = ["dense", "norm", "scale", "shift", "attend", "choose", "hide", "gate", "number"]


@dataclass
class Drawn:
    """A graph of layers over x (N, 3, 4), as ONNX nodes and as a function of NumPy arrays."""

    finite: bool
    """whether masks hold -10,000 where they could hold minus infinity"""
    literal: bool
    """whether masks and numbers are Constant nodes"""
    random: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: dict[str, Array] = field(default_factory=dict)
    layers: list[Callable[[Array, Mapping[Slot, Array]], Array]] = field(default_factory=list)
    parameters: dict[Slot, Array] = field(default_factory=dict)
    value: str = "x"

    def op(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op_type}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name=name, **attributes))
        return name

    def tensor(self, array: Any) -> str:
        """The name of an initializer, the same for equal ones: this is the merging."""
        array = np.asarray(array)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        for name, known in self.tensors.items():
            if (known.dtype, known.shape) == (array.dtype, array.shape) and (known == array).all():
                return name
        name = f"t{len(self.tensors)}"
        self.tensors[name] = array
        return name

    def constant(self, array: Any) -> str:
        array = np.asarray(array)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        return self.op("Constant", value=numpy_helper.from_array(array)) if self.literal else self.tensor(array)

    def weight(self, place: int, array: Any) -> Slot:
        """A parameter of the layer that was appended last."""
        slot = self.nodes[-1].name, place
        self.parameters[slot] = np.asarray(self.tensors[self.tensor(array)], np.float64)
        return slot

    def hidden(self) -> float:
        return -1e4 if self.finite else -np.inf


def dense(g: Drawn) -> None:
    w = np.eye(D) if g.random.random() < 0.7 else g.random.standard_normal((D, D))
    g.value = g.op("MatMul", g.value, g.tensor(w))
    slot = g.weight(1, w)
    g.value = g.op("Add", g.tensor(np.zeros(D)), g.value)
    bias = g.weight(0, np.zeros(D))
    g.value = g.op("Tanh", g.value)
    g.layers.append(lambda x, p: np.tanh(x @ p[slot] + p[bias]))


def norm(g: Drawn) -> None:
    g.value = g.op("LayerNormalization", g.value, g.tensor(np.ones(D)), g.tensor(np.zeros(D)), axis=-1, epsilon=0.1)
    scale, bias = g.weight(1, np.ones(D)), g.weight(2, np.zeros(D))

    def layer(x: Array, p: Mapping[Slot, Array]) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        return np.asarray(centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 0.1) * p[scale] + p[bias])

    g.layers.append(layer)


def scale(g: Drawn) -> None:
    g.value = g.op("Mul", g.value, g.tensor(np.ones(D)))
    slot = g.weight(1, np.ones(D))
    g.layers.append(lambda x, p: x * p[slot])


def shift(g: Drawn) -> None:
    g.value = g.op("Add", g.value, g.tensor(np.zeros(D)))
    slot = g.weight(1, np.zeros(D))
    g.layers.append(lambda x, p: x + p[slot])


CAUSAL = np.tril(np.ones((TOKENS, TOKENS), bool))


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def attention(g: Drawn, scores: Callable[[str], str]) -> None:
    """Every token sees itself and those before it; `scores` appends the mask."""
    keys = g.op("Tanh", g.value)
    products = g.op("MatMul", keys, g.op("Transpose", keys, perm=[0, 2, 1]))
    weights = g.op("Softmax", scores(g.op("Div", products, g.constant(2.0))), axis=-1)
    g.value = g.op("MatMul", weights, g.value)

    def layer(x: Array, _: Mapping[Slot, Array]) -> Array:
        k = np.tanh(x)
        return np.asarray(softmax(np.where(CAUSAL, k @ k.swapaxes(1, 2) / 2, -np.inf)) @ x)

    g.layers.append(layer)


def attend(g: Drawn) -> None:
    attention(g, lambda scores: g.op("Add", scores, g.constant(np.where(CAUSAL, 0.0, g.hidden()))))


def choose(g: Drawn) -> None:
    attention(g, lambda scores: g.op("Where", g.constant(CAUSAL), scores, g.constant(np.array([g.hidden()]))))


def hide(g: Drawn) -> None:
    mask = np.ones((TOKENS, D))
    mask[1:, 0] = 0
    g.value = g.op("Mul", g.constant(mask), g.value)
    g.layers.append(lambda x, _: x * mask)


def gate(g: Drawn) -> None:
    g.value = g.op("Mul", g.value, g.op("Sigmoid", g.value))
    g.layers.append(lambda x, _: x / (1 + np.exp(-x)))


def number(g: Drawn) -> None:
    g.value = g.op("Add", g.op("Mul", g.value, g.constant(np.array([0.5]))), g.constant(np.array([0.5])))
    g.layers.append(lambda x, _: 0.5 * x + 0.5)


def head(g: Drawn) -> None:
    w = np.eye(TOKENS * D)[:, :CLASSES]
    g.value = g.op("Gemm", g.op("Flatten", g.value), g.tensor(w), g.tensor(np.zeros(CLASSES)))
    slots = g.weight(1, w), g.weight(2, np.zeros(CLASSES))
    g.layers.append(lambda x, p: x.reshape(len(x), -1) @ p[slots[0]] + p[slots[1]])


LAYERS = {f.__name__: f for f in (dense, norm, scale, shift, attend, choose, hide, gate, number)}


def model(g: Drawn) -> onnx.ModelProto:
    graph = helper.make_graph(
        g.nodes,
        "merged",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", TOKENS, D])],
        [helper.make_tensor_value_info(g.value, TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in g.tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def loss(g: Drawn, x: Array, parameters: Mapping[Slot, Array]) -> float:
    for layer in g.layers:
        x = layer(x, parameters)
    return float(-np.log(softmax(x))[np.arange(len(x)), LABELS].mean())


def slopes(g: Drawn, x: Array, slot: Slot, direction: Array) -> tuple[float, float]:
    """Central differences along a direction of one parameter, by two step sizes."""

    def at(step: float) -> float:
        return loss(g, x, {**g.parameters, slot: g.parameters[slot] + step * direction})

    rough, fine = ((at(h) - at(-h)) / (2 * h) for h in (2e-4, 1e-4))
    return rough, fine


@given(st.lists(st.sampled_from(KINDS), min_size=2, max_size=6), st.booleans(), st.booleans(), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_gradients_are_those_of_the_untied_function(kinds: list[str], finite: bool, literal: bool, seed: int) -> None:
    g = Drawn(finite, literal, np.random.default_rng(seed))
    for kind in [*kinds, "head"]:
        (LAYERS | {"head": head})[kind](g)
    read = from_proto(model(g), name="merged", origin="merged.onnx")
    names = {(n.name, place): x for n in read.nodes for place, x in enumerate(n.input)}
    parameters = {slot: names[slot] for slot in g.parameters}
    assert sorted(parameters.values()) == sorted(read.parameters)  # each layer has its own, and nothing else is trained

    x = g.random.standard_normal((len(LABELS), TOKENS, D))
    x = x.astype(np.float32).astype(np.float64)
    with tempfile.TemporaryDirectory() as folder:
        engine = create(export(read, Path(folder) / "bundle"))
    before = engine.parameters()
    engine.step({"x": x.astype(np.float32), "labels": LABELS}, learning_rate=1.0)
    after = engine.parameters()
    for slot, name in parameters.items():
        gradient = before[name].astype(np.float64) - after[name]
        direction = g.random.standard_normal(gradient.shape)
        rough, fine = slopes(g, x, slot, direction)
        # The step is taken in float32, of numbers around 1.
        error = 1e-4 * float(np.linalg.norm(direction)) + 2 * abs(rough - fine)
        assert abs(float(np.vdot(gradient, direction)) - fine) <= error, (slot, name)
