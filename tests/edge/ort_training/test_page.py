"""The program on the page about moving is run; and it needs no `onnx` where it trains."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort  # noqa: TID251 - the exported model is run
import pytest

from export import artifacts
from tests import ort_models as models

PAGE = Path(__file__).parents[3] / "docs" / "moving-from-onnxruntime-training.md"


def program() -> str:
    """The Python on the page."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    return str(block)


def test_the_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "artifacts").mkdir()
    onnx.save(models.mlp(), "model.onnx")
    losses = []
    for steps in (1, 30):
        names: dict[str, Any] = {"batches": [models.batch(seed=0)] * steps}
        exec(program(), names)
        losses.append(names["state"].properties["loss"])
        (outputs,) = ort.InferenceSession("trained.onnx").run(["output-0"], {"input-0": models.batch()[0]})
        assert outputs.shape == (16, 4)
    assert losses[1] < losses[0]


def test_the_two_lines_that_change_are_those_of_the_program() -> None:
    (block,) = re.findall(r"```diff\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert [line[1:] for line in block.splitlines() if line.startswith("+")] == program().splitlines()[:2]


def test_a_device_trains_without_onnx(tmp_path: Path) -> None:
    artifacts.generate_artifacts(
        models.mlp(),
        requires_grad=models.PARAMETERS,
        loss=artifacts.LossType.CrossEntropyLoss,
        optimizer=artifacts.OptimType.SGD,
        artifact_directory=tmp_path,
    )
    np.savez(tmp_path / "batch.npz", *models.batch())
    code = (
        "import json, sys, numpy\nfrom edge.ort_training.api import *\n"
        "state = CheckpointState.load_checkpoint('checkpoint')\n"
        "model = Module('training_model.onnx', state, 'eval_model.onnx')\n"
        "model(*numpy.load('batch.npz').values())\n"
        "Optimizer('optimizer_model.onnx', model).step()\n"
        "model.export_model_for_inferencing('trained.onnx', ['output-0'])\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert not {"onnx", "export", "paho", "pydantic", "torch"} & set(json.loads(done.stdout))
