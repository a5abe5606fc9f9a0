"""Whole training steps with the compiled kernels and without, and what happens where they do not fit."""

import os
import platform
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from edge import command
from edge.engines import _kernels, _session, onnx_runtime, random_batch
from edge.engines._session import Options
from edge.engines.onnx_runtime import OnnxRuntime
from edge.errors import FallbackWarning
from export import zoo
from export.transforms import batch_norm
from export.write import export

CASES = {"ds-cnn": (1, 25, 10), "mobilenet-v2": (3, 32, 32), "resnet8": (3, 8, 8), "lenet": (1, 8, 8), "tcn": (6, 32)}
OPERATORS = {
    "ds-cnn": {"DepthwiseInputGradient": 8, "DepthwiseFilterGradient": 4, "BatchNormGradient": 9},
    "mobilenet-v2": {
        "DepthwiseConv": 14, "DepthwiseInputGradient": 14, "DepthwiseFilterGradient": 14, "BatchNormGradient": 52
    },
    "resnet8": {"BatchNormGradient": 9},
    "lenet": {},
    "tcn": {},
}  # fmt: skip


RATES = {"mobilenet-v2": 1e-7}
"""fifty normalizations turn another rounding, even of the input, into a hundredth of the first layers' gradients"""


@pytest.mark.parametrize("name", CASES)
def test_losses_are_the_same(kernels: ModuleType, tmp_path: Path, name: str) -> None:
    bundle = export(zoo.build(name, shape=CASES[name], classes=4, seed=1), tmp_path / "bundle")
    model = onnx.load_from_string(kernels.rewritten((bundle.path / "train.onnx").read_bytes()))
    assert {n.op_type for n in model.graph.node if n.domain == "murmur"} == OPERATORS[name].keys()
    counts = {op: sum(n.op_type == op for n in model.graph.node) for op in OPERATORS[name]}
    assert counts == OPERATORS[name]
    stock, ours = OnnxRuntime(bundle, Options(kernels=False)), OnnxRuntime(bundle)
    for seed in range(3):
        batch = random_batch(bundle, 6, seed=seed)
        a, b = (engine.step(batch, learning_rate=RATES.get(name, 1e-4)) for engine in (stock, ours))
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5, abs=1e-5)
    x = random_batch(bundle, 6)["x"]
    np.testing.assert_allclose(stock.predict(x), ours.predict(x), atol=1e-4)


def test_fixed_statistics_are_left_alone(kernels: ModuleType, tmp_path: Path) -> None:
    model = batch_norm.select(zoo.build("ds-cnn", shape=(1, 25, 10), classes=4), "frozen")
    bundle = export(model, tmp_path / "bundle")
    written = onnx.load_from_string(kernels.rewritten((bundle.path / "train.onnx").read_bytes()))
    assert not [n for n in written.graph.node if n.op_type == "BatchNormGradient"]


def test_a_graph_without_patterns_is_itself(kernels: ModuleType, tmp_path: Path) -> None:
    bundle = export(zoo.build("mlp:4", shape=(3,), classes=2), tmp_path / "bundle")
    content = (bundle.path / "train.onnx").read_bytes()
    assert kernels.rewritten(content) is content
    with pytest.raises(ValueError, match="cut short"):
        kernels.rewritten(content[:-3])


def test_optimised_graphs_with_and_without(kernels: ModuleType, tmp_path: Path) -> None:
    bundle, home = export(zoo.build("ds-cnn", shape=(1, 25, 10), classes=4), tmp_path / "bundle"), tmp_path / "home"
    home.mkdir()
    losses = []
    for _ in range(2):
        _session._session.cache_clear()
        losses.append(onnx_runtime.create(bundle, home=home).step(random_batch(bundle, 4))["loss"])
        (kept,) = (home / onnx_runtime.OPTIMISED).iterdir()
        assert kept.stem.endswith("-kernels1")
    assert losses[0] == losses[1]


def test_several_threads_use_the_runtimes_operators(kernels: ModuleType, tmp_path: Path) -> None:
    bundle, home = export(zoo.build("ds-cnn", shape=(1, 25, 10), classes=4), tmp_path / "bundle"), tmp_path / "home"
    home.mkdir()
    onnx_runtime.create(bundle, home=home, threads=2).step(random_batch(bundle, 4))
    (kept,) = (home / onnx_runtime.OPTIMISED).iterdir()
    assert "kernels" not in kept.name


@pytest.mark.parametrize("case", ["version", "none", "broken", "processor"])
def test_what_does_not_fit_is_one_line(
    kernels: ModuleType, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse() -> Path:
        raise OSError("this processor has no AVX2")

    words = {"version": "of version 2", "none": "no murmur_kernels-none.so", "broken": "too short", "processor": "AVX2"}
    if case == "version":
        monkeypatch.setattr(kernels, "VERSION", 2)
    elif case == "processor":
        monkeypatch.setattr(kernels, "library", refuse)
    else:
        monkeypatch.setattr(kernels.platform, "machine", lambda: case)
        monkeypatch.setattr(kernels, "__file__", str(tmp_path / "__init__.py"))
        (tmp_path / "murmur_kernels-broken.so").write_bytes(b"")
    _kernels.library.cache_clear()
    bundle = export(zoo.build("ds-cnn", shape=(1, 25, 10), classes=4), tmp_path / "bundle")
    losses = []

    def body() -> int:
        losses.append(OnnxRuntime(bundle, Options(pattern=True)).step(random_batch(bundle, 4))["loss"])
        return 0

    try:
        _session._session.cache_clear()
        assert command.guarded("edge-node", body) == 0
    finally:
        _kernels.library.cache_clear()
        _session._session.cache_clear()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edge-node: note: the compiled kernels are not used: ")
    assert words[case] in line
    stock = OnnxRuntime(bundle, Options(kernels=False)).step(random_batch(bundle, 4))["loss"]
    assert losses == [pytest.approx(stock, rel=1e-6)]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="ARM's kernels need nothing beyond the baseline")
def test_an_emulated_processor_without_avx2_trains_with_stock_operators(kernels: ModuleType, tmp_path: Path) -> None:
    """QEMU ends a program with an illegal instruction if one of AVX2's is executed."""
    emulator = shutil.which("qemu-x86_64-static")
    assert emulator is not None, "apt-get install qemu-user-static"
    bundle = export(zoo.build("ds-cnn", shape=(1, 25, 10), classes=4), tmp_path / "bundle")
    code = (
        "import sys, warnings; from pathlib import Path; from edge import bundle; "
        "from edge.engines import onnx_runtime, random_batch; "
        "warnings.simplefilter('always'); engine = onnx_runtime.create(bundle.read(Path(sys.argv[1]))); "
        "print(engine.step(random_batch(engine.bundle, 4))['loss'])"
    )
    path = os.pathsep.join([str(Path(str(kernels.__file__)).parents[1]), str(Path(__file__).parents[2])])
    environment = {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "HOME": str(tmp_path)}
    command = [emulator, "-cpu", "Nehalem", sys.executable, "-c", code, str(bundle.path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "the compiled kernels are not used: this processor has no AVX2" in done.stderr
    stock = OnnxRuntime(bundle, Options(kernels=False)).step(random_batch(bundle, 4))["loss"]
    assert float(done.stdout) == pytest.approx(stock, rel=1e-5)


def test_they_can_be_switched_off(kernels: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    _kernels.library.cache_clear()
    assert _kernels.library() == kernels.library()
    monkeypatch.setenv(_kernels.SWITCH, "off")
    _kernels.library.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        assert _kernels.library() is None
    _kernels.library.cache_clear()
