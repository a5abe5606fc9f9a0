"""Bundles whose tensors are in files outside of the bundle: refused at reading, wherever the tensor is."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edge import bundle
from edge.errors import BundleError
from edge.storage import external_data
from export import zoo
from export.write import export

Make = Callable[[TensorProto], onnx.ModelProto]


def outside() -> TensorProto:
    """A tensor in a file of the system's, as ONNX Runtime 1.17 opens it."""
    tensor = TensorProto(name="secret", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "../../../../etc/hostname"), ("offset", "0"), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def graph(tensor: TensorProto | None = None, nodes: list[onnx.NodeProto] | None = None) -> onnx.GraphProto:
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    return helper.make_graph(nodes or [], "g", [], [y], [tensor] if tensor is not None else [])


def model(content: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(content)


def sparse(tensor: TensorProto) -> onnx.ModelProto:
    content = graph()
    content.sparse_initializer.add().values.CopyFrom(tensor)
    return model(content)


def function(tensor: TensorProto) -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    whole = model(graph())
    whole.functions.append(helper.make_function("d", "f", [], ["y"], [node], [helper.make_opsetid("", 20)]))
    return whole


def training(tensor: TensorProto) -> onnx.ModelProto:
    whole = model(graph())
    whole.training_info.add().algorithm.CopyFrom(graph(tensor))
    return whole


def branch(tensor: TensorProto) -> onnx.ModelProto:
    inner = helper.make_node("If", ["c"], ["y"], then_branch=graph(tensor), else_branch=graph())
    return model(graph(None, [helper.make_node("If", ["c"], ["y"], then_branch=graph(None, [inner]))]))


PLACES: dict[str, Make] = {
    "initializer": lambda tensor: model(graph(tensor)),
    "constant": lambda tensor: model(graph(None, [helper.make_node("Constant", [], ["y"], value=tensor)])),
    "sparse": sparse,
    "function": function,
    "training": training,
    "branch in a branch": branch,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", ["both", "location only", "entries only"])
def test_wherever_it_is(place: str, form: str) -> None:
    tensor = outside()
    if form == "location only":
        del tensor.external_data[:]
    elif form == "entries only":
        tensor.ClearField("data_location")
    assert external_data.is_used(PLACES[place](tensor).SerializeToString())
    inside = helper.make_tensor("inside", TensorProto.FLOAT, [4], [0.0, 1.0, 2.0, 3.0])
    assert not external_data.is_used(PLACES[place](inside).SerializeToString())


@pytest.mark.parametrize("content", [b"\xff", b"\x3a\x05ab", b"\x0b", bytes([0x80] * 20)])
def test_what_is_no_model(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        external_data.is_used(content)


def test_a_bundle_is_refused(tmp_path: Path) -> None:
    """Its digests are right, and its manifest is; only the tensor leads out."""
    written = export(zoo.build("mlp:4", shape=(3,), classes=2), tmp_path / "bundle")
    path = written.path / "predict.onnx"
    changed = onnx.load(path)
    changed.graph.initializer.append(outside())
    path.write_bytes(changed.SerializeToString())
    manifest = json.loads((written.path / "manifest.json").read_text())
    manifest["digests"]["predict.onnx"] = sha256(path.read_bytes()).hexdigest()
    (written.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"predict\.onnx has tensors in files outside of it"):
        bundle.read(written.path)
