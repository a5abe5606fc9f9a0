"""The judge of gradient rules: one random direction, float64, central differences.

For y = f(x) with adjoint u of y, and a direction v of x, <u, J v> from differences of f must equal
<J^T u, v> from the rule. One direction costs two evaluations whatever the size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime  # noqa: TID251 - the runtime the graphs are for
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.graph.builder import GraphBuilder
from export.graph.prune import prune
from export.lowering import lower
from export.training.autodiff import gradients
from tests.export.reference_ops import CORRECTED

Array = npt.NDArray[Any]
OPSET = 20


def graph_of(
    op_type: str,
    inputs: Sequence[Array | None],
    *,
    wanted: Sequence[int],
    fixed: Sequence[int] = (),
    outputs: int = 1,
    of: Sequence[int] = (0,),
    opset: int = OPSET,
    **attrs: Any,
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The operator alone, and the operator with its gradient; inputs x0, x1, ..., adjoint u.

    wanted: which inputs to differentiate. fixed: which inputs are constants (shapes, axes). An input that is
    None is left out. of: the outputs that are judged, one after another in a row if there are several.
    The first axis of every other input is left symbolic, as a batch is.
    """
    op = GraphBuilder(opset)
    names = []
    for i, value in enumerate(inputs):
        if value is None:
            names.append("")
        elif i in fixed:
            names.append(op.const(value, value.dtype))
        else:
            names.append(op.argument(f"x{i}", value.dtype, value.shape))
    feeds = [n for i, n in enumerate(names) if n and i not in fixed]
    ys = op.all(op_type, *names, outputs=outputs, **attrs)
    y = ys[of[0]] if len(of) == 1 else op("Concat", *(op("Reshape", ys[i], op.const([-1])) for i in of), axis=0)
    forward = model_of(op, feeds, [y])
    u = op.argument("u", op.dtype(names[wanted[0]]), op.shape(y))
    adjoints = gradients(op, {y: u}, [names[i] for i in wanted])
    return forward, model_of(op, [*feeds, u], [adjoints[names[i]] for i in wanted])


def model_of(op: GraphBuilder, feeds: Sequence[str], results: Sequence[str]) -> onnx.ModelProto:
    """A checked model of what `op` holds, pruned to `results`."""
    nodes, replaced = lower(op, prune(op.nodes, results), results)
    results = [replaced.get(r, r) for r in results]
    read = {x for n in nodes for x in n.input}
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_value_info(f, op.types[f]) for f in feeds],
        [helper.make_value_info(r, op.types[r]) for r in results],
        [numpy_helper.from_array(v, n) for n, v in op.constants.items() if n in read],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", op.opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def check(
    op_type: str,
    *inputs: Array | None,
    wanted: Sequence[int] = (0,),
    fixed: Sequence[int] = (),
    outputs: int = 1,
    of: Sequence[int] = (0,),
    single: Sequence[int] = (),
    seed: int = 0,
    tolerance: float = 1e-5,
    runtime: bool = True,
    **attrs: Any,
) -> None:
    """Assert that the rule agrees with central differences, and the runtime with the rule.

    single: inputs that are float32 by the operator's definition; the others are judged in float64.
    """
    rng = np.random.default_rng(seed)
    inputs = tuple(x if x is None or i in single else _double(x) for i, x in enumerate(inputs))
    forward, backward = graph_of(op_type, inputs, wanted=wanted, fixed=fixed, outputs=outputs, of=of, **attrs)
    feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None and i not in fixed}
    f = ReferenceEvaluator(forward, new_ops=CORRECTED)

    def y(step: float, directions: Mapping[str, Array]) -> Array:
        moved = {k: x + step * directions[k] if k in directions else x for k, x in feeds.items()}
        results: Any = f.run(None, moved)
        return np.asarray(results[0])

    u = np.asarray(rng.standard_normal(y(0, {}).shape))
    rule = [np.asarray(g) for g in ReferenceEvaluator(backward, new_ops=CORRECTED).run(None, {**feeds, "u": u})]
    for i, got in zip(wanted, rule, strict=True):
        name = f"x{i}"
        v = np.asarray(rng.standard_normal(feeds[name].shape))
        h = 1e-6 * max(1.0, float(np.abs(feeds[name]).max()))
        numeric = float(np.vdot(u, (y(h, {name: v}) - y(-h, {name: v})) / (2 * h)))
        analytic = float(np.vdot(got, v))
        scale = max(abs(numeric), abs(analytic), float(np.linalg.norm(u) * np.linalg.norm(v)) * 1e-3)
        assert abs(numeric - analytic) <= tolerance * scale, (
            f"{op_type} input {i} {attrs}, seed {seed}: differences say {numeric}, the rule says {analytic}"
        )
    if runtime:
        _runtime_agrees(op_type, inputs, feeds, u, rule, wanted=wanted, fixed=fixed, outputs=outputs, of=of, **attrs)


def _runtime_agrees(
    op_type: str,
    inputs: Sequence[Array | None],
    feeds: Mapping[str, Array],
    u: Array,
    rule: Sequence[Any],
    **case: Any,
) -> None:
    """The same gradient graph in float32 on ONNX Runtime."""
    single = tuple(None if x is None else _single(x) for x in inputs)
    _, backward = graph_of(op_type, single, **case)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(backward.SerializeToString(), options, providers=["CPUExecutionProvider"])
    got = session.run(None, {k: _single(x) for k, x in {**feeds, "u": u}.items()})
    for mine, theirs in zip(got, rule, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-4 * max(1.0, float(np.abs(theirs).max())))


def _double(x: Array) -> Array:
    x = np.asarray(x)
    return x.astype(np.float64) if np.issubdtype(x.dtype, np.floating) else x


def _single(x: Array) -> Array:
    return x.astype(np.float32) if x.dtype == np.float64 else x
