"""A device stays slim: what running a node imports, and what it must not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from export import zoo
from export.write import export

HEAVY = {"onnx", "torch", "sklearn", "scipy", "rich", "iotcore", "export", "broker", "pandas", "matplotlib"}


RUNTIMES = {"onnxruntime", "ai_edge_litert", "tflite_runtime"}


@pytest.mark.parametrize(("engine", "runtime"), [("onnx_runtime", {"onnxruntime"}), ("tflite", {"ai_edge_litert"})])
def test_a_node_imports_nothing_it_does_not_need(engine: str, runtime: set[str], tmp_path: Path) -> None:
    """Not before its first step, and not after; and of the runtimes only its engine's."""
    export(zoo.build("mlp:4", shape=(3,), classes=2), tmp_path / "b", rows=(4,))
    code = (
        f"import json, sys, edge.cli, edge.engines.{engine} as engine, edge.protocols.d_distillation\n"
        "from pathlib import Path; from edge import bundle; from edge.engines import random_batch\n"
        f"found = bundle.read(Path({str(tmp_path / 'b')!r}))\n"
        "engine.SPEC.create(found).step(random_batch(found, 4))\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout))
    assert not HEAVY & imported
    assert imported & RUNTIMES == runtime
