"""The program on the page about moving, with the imports of both packages: the same losses."""

import re
from pathlib import Path
from typing import Any

import onnx
import pytest

from edge.training_package import open_package
from tests import ort_models as models
from tests.edge.ort_training.test_page import PAGE, program

open_package()


def test_with_the_old_imports_and_with_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"```diff\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    old = "\n".join(line[1:] for line in block.splitlines() if line.startswith("-"))
    before = "\n".join([old, *program().splitlines()[2:]])
    outcomes = []
    for name, code in (("before", before), ("after", program())):
        (tmp_path / name / "artifacts").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        onnx.save(models.mlp(), "model.onnx")
        names: dict[str, Any] = {"batches": [models.batch(seed=seed) for seed in range(10)]}
        exec(code, names)
        outcomes.append(float(names["loss"]))
        outputs = [o.name for o in onnx.load("trained.onnx").graph.output]
        assert outputs == ["output-0"]
    assert outcomes[0] == pytest.approx(outcomes[1], abs=1e-5)
