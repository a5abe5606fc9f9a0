"""Low-rank adapters: they start as nothing, only they move, and no gradient of a full weight is made."""

from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge.engines.onnx_runtime import create
from edge.interfaces import Array
from export import zoo
from export.errors import ExportError
from export.transforms.trainable import select
from export.write import export

MODELS = {"lenet": (1, 28, 28), "tiny-transformer": (9, 64), "tcn": (9, 64)}


@pytest.mark.parametrize("spec", MODELS)
def test_starts_as_the_model_and_learns(spec: str, tmp_path: Path) -> None:
    plain = zoo.build(spec, shape=MODELS[spec], classes=4)
    adapted = select(plain, "lora:3")
    engine, before = create(export(adapted, tmp_path / "b")), create(export(plain, tmp_path / "plain"))
    random = np.random.default_rng(0)
    batch: dict[str, Array] = {"x": random.random((8, *plain.shape), np.float32), "labels": random.integers(0, 4, 8)}
    np.testing.assert_allclose(engine.predict(batch["x"]), before.predict(batch["x"]), atol=1e-6)
    start = engine.parameters()
    losses = [engine.step(batch, learning_rate=0.05)["loss"] for _ in range(60)]
    assert losses[-1] < losses[0]
    moved = {k for k, v in engine.parameters().items() if not np.array_equal(v, start[k])}
    assert moved == {k for k in start if ".lora_" in k}
    assert all(start[k].any() == k.endswith("lora_a") for k in moved)


def test_no_intermediate_of_a_full_weight(tmp_path: Path) -> None:
    adapted = select(zoo.build("mlp:300", shape=(1, 28, 28), classes=10), "lora:2")
    graph = onnx.shape_inference.infer_shapes(onnx.load(export(adapted, tmp_path / "b").path / "train.onnx")).graph
    sizes = {v.name: prod(d.dim_value or 1 for d in v.type.tensor_type.shape.dim) for v in graph.value_info}
    assert max(sizes.values()) < 300 * 784 / 10


@pytest.mark.parametrize(("spec", "complaint"), [("lora:0", "a rank of 1 or more"), ("lora:x", "a rank of 1 or more")])
def test_bad_ranks(spec: str, complaint: str) -> None:
    with pytest.raises(ExportError, match=complaint):
        select(zoo.build("mlp", shape=(4,), classes=2), spec)
