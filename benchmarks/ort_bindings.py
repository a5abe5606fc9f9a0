"""ONNX Runtime's own tests of the Python bindings of its on-device training, run on `edge.ort_training`.

    python -m benchmarks.ort_bindings FILE [--json]

FILE is a copy of orttraining/orttraining/test/python/orttraining_test_python_bindings.py of microsoft/onnxruntime,
which is no part of this repository. `onnxruntime.training` stands for our modules while it runs, on the ONNX Runtime of
this environment, which needs PyTorch (extra `oracle`). What is left out is printed with the reason.
"""

import argparse
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import onnxruntime  # noqa: TID251 - the tests are of its API
import pytest

from edge.command import guarded
from edge.errors import ConfigError
from edge.ort_training import api
from export import artifacts
from tests import ort_models

LEFT_OUT = {
    "cuda": "training runs on the CPU only",
    "custom_ops": "only standard ONNX operators can be trained",
    "string_inputs": "its model is built of onnxblock; tests/edge/ort_training asks the same of a plain one",
}
"""part of a test's name -> why it is not run"""


class BindingOutcomes:
    """A pytest plug-in that leaves tests out and notes what became of the others."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.failed: list[str] = []
        self.left_out: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what `LEFT_OUT` names."""
        for item in items:
            for part, reason in LEFT_OUT.items():
                if part in item.name:
                    self.left_out[item.name] = reason
        items[:] = [item for item in items if item.name not in self.left_out]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note an outcome."""
        if report.failed:
            self.failed.append(report.nodeid.rpartition("::")[2])
        elif report.when == "call":
            self.passed.append(report.nodeid.rpartition("::")[2])


def models(_device: str, _batch: int, features: int, hidden: int, classes: int) -> tuple[Any, onnx.ModelProto]:
    """A network of two layers in PyTorch, and the same as ONNX, as the tests' own helper makes them."""
    import torch

    class TwoLayers(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = torch.nn.Linear(features, hidden)
            self.fc2 = torch.nn.Linear(hidden, classes)

        def forward(self, x: Any) -> Any:
            return self.fc2(torch.relu(self.fc1(x)))

    proto, network = ort_models.mlp(features, hidden, classes), TwoLayers()
    weights = ort_models.weights(proto)
    network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()})
    return network, proto


def stand_in() -> None:
    """Let `onnxruntime.training` and what the tests import beside it be our modules."""
    blocks: Any = ModuleType("onnxruntime.training.onnxblock")
    blocks.TrainingBlock = blocks.ForwardBlock = object  # classes derive from them, in tests that are left out
    training: Any = ModuleType("onnxruntime.training")
    training.artifacts, training.api, training.onnxblock = artifacts, api, blocks
    helper: Any = ModuleType("orttraining_test_onnxblock")
    helper._get_models = models
    onnxruntime.training = training
    for name, module in {"artifacts": artifacts, "api": api, "onnxblock": blocks}.items():
        sys.modules[f"onnxruntime.training.{name}"] = module
    sys.modules |= {"onnxruntime.training": training, "orttraining_test_onnxblock": helper}


def run() -> int:
    """Run the tests and print what became of them. Returns 1 if any failed."""
    parser = argparse.ArgumentParser(prog="benchmarks.ort_bindings", description=__doc__, allow_abbrev=False)
    parser.add_argument("file", type=Path, help="the tests")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if not arguments.file.is_file():
        raise ConfigError(f"no file at {arguments.file}; copy it from microsoft/onnxruntime (see --help)")
    stand_in()
    outcomes = BindingOutcomes()
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(arguments.file.parent), "-c", os.devnull]
    with redirect_stdout(sys.stderr):
        code = pytest.main([str(arguments.file), *options], [outcomes])
    if arguments.json:
        print(json.dumps(vars(outcomes)))
    else:
        for name, reason in outcomes.left_out.items():
            print(f"left out: {name}: {reason}")
        print(f"{len(outcomes.passed)} passed, {len(outcomes.failed)} failed, {len(outcomes.left_out)} left out")
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(guarded("benchmarks.ort_bindings", run))
