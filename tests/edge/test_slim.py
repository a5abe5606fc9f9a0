"""A device stays slim: what running a node imports, and what it must not."""

import json
import subprocess
import sys

HEAVY = {"onnx", "torch", "sklearn", "scipy", "rich", "iotcore", "export", "broker", "pandas", "matplotlib"}


def test_a_node_imports_nothing_it_does_not_need() -> None:
    code = (
        "import json, sys, edge.cli, edge.engines.onnx_runtime, edge.protocols.d_distillation\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout))
