"""The reverse walk: sums, stops, broadcasting, and errors that name the node."""

import numpy as np
import onnxruntime as ort  # noqa: TID251
import pytest

from export.errors import ExportError
from export.graph.builder import GraphBuilder
from export.training.autodiff import gradients
from tests.export.directional import model_of


def run(op: GraphBuilder, results: list[str], **feeds: np.ndarray) -> list[np.ndarray]:
    model = model_of(op, list(feeds), results)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)  # type: ignore[no-any-return]


def start(*shape: int) -> tuple[GraphBuilder, str]:
    op = GraphBuilder(18)
    return op, op.argument("x", np.float32, shape)


def test_adjoints_of_a_value_used_twice_are_added() -> None:
    op, x = start(3)
    y = op("Add", op("Mul", x, x), x)  # x^2 + x
    (dx,) = gradients(op, {op.sum(y, [0]): op.like(x, 1)}, [x]).values()
    values = np.array([1, -2, 3], np.float32)
    np.testing.assert_allclose(run(op, [dx], x=values)[0], 2 * values + 1)


def test_several_roots_are_added() -> None:
    op, x = start(3)
    roots = {op.sum(op("Mul", x, x), [0]): op.like(x, 1), op.sum(x, [0]): op.like(x, 5)}
    (dx,) = gradients(op, roots, [x]).values()
    values = np.array([1, -2, 3], np.float32)
    np.testing.assert_allclose(run(op, [dx], x=values)[0], 2 * values + 5)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 4), (3, 1), (2, 1, 1)])
def test_broadcasting_is_undone(shape: tuple[int, ...]) -> None:
    op, x = start(*shape)
    wide = op.const(np.ones((2, 3, 4)), np.float32)
    (dx,) = gradients(op, {op.sum(op("Mul", wide, x), [0, 1, 2]): op.like(x, 1)}, [x]).values()
    (adjoint,) = run(op, [dx], x=np.ones(shape, np.float32))
    assert adjoint.shape == shape
    np.testing.assert_allclose(adjoint, 24 / max(1, int(np.prod(shape))))


def test_nothing_flows_through_what_has_no_derivative() -> None:
    op, x = start(3)
    mask = op("Cast", op("Greater", x, op.like(x, 0)), to=1)
    (dx,) = gradients(op, {op.sum(op("Mul", x, mask), [0]): op.like(x, 1)}, [x]).values()
    np.testing.assert_allclose(run(op, [dx], x=np.array([2, -2, 3], np.float32))[0], [1, 0, 1])


def test_what_nobody_wants_costs_nothing() -> None:
    op = GraphBuilder(18)
    x, w = op.argument("x", np.float32, ["N", 4]), op.argument("w", np.float32, [4, 5])
    y = op("MatMul", x, w)
    before = len(op.nodes)
    (dw,) = gradients(op, {y: op.const(np.ones((2, 5)), np.float32)}, [w]).values()
    model = model_of(op, ["x", "w"], [dw])
    assert [n.op_type for n in model.graph.node] == ["Gemm"]
    assert len(op.nodes) > before


def test_a_missing_rule_names_the_node_and_its_layer() -> None:
    op, x = start(3)
    y = op("Mod", x, x, fmod=1)
    expected = r"no gradient rule for 'Mod' \(node 'Mod_\d+' \(Mod\)\), .* layer of 'x'; no layer comes after it"
    with pytest.raises(ExportError, match=expected):
        gradients(op, {y: op.const(np.ones(3), np.float32)}, [x])


def test_a_missing_rule_is_told_with_what_can_be_trained_without_it() -> None:
    op, x = start(3)
    w, v = (op.argument(f"parameter/{name}", np.float32, [3]) for name in ("w", "v"))
    z = op("Mod", op("Mul", x, w), x, fmod=1)
    y = op("Mul", z, v)
    expected = r"layer of 'w'; train what comes after it, --train last:1, or freeze what comes before: --freeze w$"
    with pytest.raises(ExportError, match=expected):
        gradients(op, {y: op.const(np.ones(3), np.float32)}, [w, v])
    gradients(op, {y: op.const(np.ones(3), np.float32)}, [v])


def test_what_a_rule_refuses_is_told_so_too() -> None:
    op, x = start(3)
    w, v = (op.argument(f"parameter/{name}", np.float32, [3]) for name in ("w", "v"))
    y = op("Mul", op("Pad", op("Mul", x, w), op.const([1, -1])), v)
    expected = r"negative padding .* in the layer of 'w'; train what comes after it, --train last:1, or freeze .* w$"
    with pytest.raises(ExportError, match=expected):
        gradients(op, {y: op.const(np.ones(3), np.float32)}, [w, v])


def test_an_operator_off_the_path_needs_no_rule() -> None:
    op, x = start(3)
    other = op.argument("other", np.float32, [3])
    y = op("Mul", x, op("Mod", other, other, fmod=1))
    (dx,) = gradients(op, {y: op.const(np.ones(3), np.float32)}, [x]).values()
    assert len(run(op, [dx], x=np.ones(3, np.float32), other=np.zeros(3, np.float32))) == 1


def test_a_parameter_the_loss_does_not_depend_on_is_an_error() -> None:
    op, x = start(3)
    op.argument("stray", np.float32, [3])
    with pytest.raises(ExportError, match="nothing flows back to 'stray'"):
        gradients(op, {op.sum(x, [0]): op.like(x, 1)}, [x, "stray"])
