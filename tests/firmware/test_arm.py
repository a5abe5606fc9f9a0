"""Murmur on ARM: installed on an emulated board from the wheelhouse, it learns with a device of this machine.

Where this cannot run it fails, and says what to install: a device that was never run on ARM is not released.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker import fleet, mosquitto, rules
from broker.process import free_port
from edge import plugins
from edge.engines import random_batch
from edge.engines._probe import RATE, STEPS
from edge.engines._session import Options
from edge.engines.onnx_runtime import OnnxRuntime
from edge.errors import ConfigError
from export import zoo
from export.write import export
from firmware_scripts import emulated, wheelhouse
from firmware_scripts.emulated import EmulatedBoard
from tests import pair

HOME = "/var/lib/murmur"
ROUNDS = 3


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels") / "aarch64"
    wheelhouse.build("aarch64", "3.11", "onnxruntime,tflite", folder)
    return folder


@pytest.fixture(scope="module")
def board(house: Path, tmp_path_factory: pytest.TempPathFactory) -> EmulatedBoard:
    """A Debian for ARM on which `install.sh` has run."""
    emulation = emulated.make("aarch64", tmp_path_factory.mktemp("board"))
    output = emulation.run(["/bin/sh", "install.sh"], {house: "/media"}, "/media")
    assert "installed in /opt/murmur" in output
    return emulation


def test_what_was_installed(board: EmulatedBoard) -> None:
    assert (board.root / "etc" / "systemd" / "system" / "murmur-node.service").is_file()
    assert "murmur:x:" in (board.root / "etc" / "passwd").read_text()
    assert (board.root / "var" / "lib" / "murmur").stat().st_mode & 0o777 == 0o700
    code = "import platform, onnxruntime, numpy; print(platform.machine(), onnxruntime.__version__, numpy.__version__)"
    machine, runtime, arrays = board.run(["/opt/murmur/bin/python3", "-c", code]).split()
    constraints = (wheelhouse.ROOT / "constraints.txt").read_text()
    assert machine == "aarch64"
    assert f"onnxruntime=={runtime}\n" in constraints
    assert f"numpy=={arrays}\n" in constraints


def test_altered_wheels_are_not_installed(house: Path, board: EmulatedBoard, tmp_path: Path) -> None:
    """And what is installed stays."""
    altered = tmp_path / "altered"
    shutil.copytree(house, altered)
    (wheel,) = altered.glob("paho_mqtt-*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(ConfigError, match="did NOT match"):
        board.run(["/bin/sh", "install.sh"], {altered: "/media"}, "/media")
    assert (board.root / "opt" / "murmur" / "bin" / "edge-node").is_file()


@pytest.mark.parametrize("engine", ["onnx-runtime", "tflite"])
@pytest.mark.parametrize("model", ["mlp:32", "small-cnn"])
def test_engines_compute_the_same_there(engine: str, model: str, board: EmulatedBoard, tmp_path: Path) -> None:
    """The loss after twenty steps, to 1e-5. TFLite crashed there as long as scalars came into its graph as such."""
    bundle = export(zoo.build(model, shape=(1, 8, 8), classes=10), tmp_path / "bundle", rows=(4,))
    there = ["/opt/murmur/bin/python3", "-m", "edge.engines._probe", engine, "/mnt", "4", "0.001"]
    there_after = json.loads(board.run(there, {bundle.path: "/mnt"}).splitlines()[-1])
    here = plugins.load("edge.engines", engine).create(bundle)
    batch = random_batch(bundle, 4)
    losses = [here.step(batch, learning_rate=RATE)["loss"] for _ in range(STEPS)]
    assert there_after["loss"] == pytest.approx(losses[-1], abs=1e-5)


def test_compiled_operators_compute_the_same_there(board: EmulatedBoard, tmp_path: Path) -> None:
    """Those that the wheelhouse brought, in twenty steps of a network with depthwise convolutions."""
    bundle = export(zoo.build("ds-cnn", shape=(1, 13, 5), classes=4), tmp_path / "bundle")
    python = "/opt/murmur/bin/python3"
    code = "from edge.engines import _kernels; print(_kernels.library())"
    assert board.run([python, "-c", code]).strip().endswith("/murmur_kernels-aarch64.so")
    probe = [python, "-m", "edge.engines._probe", "onnx-runtime", "/mnt", "2", "0.001"]
    there_after = json.loads(board.run(probe, {bundle.path: "/mnt"}).splitlines()[-1])
    here = OnnxRuntime(bundle, Options(kernels=False))
    batch = random_batch(bundle, 2)
    losses = [here.step(batch, learning_rate=RATE)["loss"] for _ in range(STEPS)]
    assert there_after["loss"] == pytest.approx(losses[-1], abs=1e-5)


def test_32_bits(tmp_path: Path) -> None:
    """With the system's NumPy and tflite-runtime; without NumPy the installer says so."""
    house = tmp_path / "armv7l"
    wheelhouse.build("armv7l", "3.11", "tflite-runtime", house)
    (tmp_path / "board").mkdir()
    small = emulated.make("armv7l", tmp_path / "board")
    install = ["/bin/sh", "install.sh"]
    aside = small.root / "usr/lib/python3/numpy"
    (small.root / "usr/lib/python3/dist-packages/numpy").rename(aside)
    with pytest.raises(ConfigError, match="needs python3-numpy first: apt-get install python3-numpy"):
        small.run(install, {house: "/media"}, "/media")
    assert not (small.root / "opt").exists()
    aside.rename(small.root / "usr/lib/python3/dist-packages/numpy")
    small.run(install, {house: "/media"}, "/media")
    bundle = export(zoo.build("mlp:32", shape=(1, 8, 8), classes=10), tmp_path / "bundle", rows=(4,))
    there = ["/opt/murmur/bin/python3", "-m", "edge.engines._probe", "tflite", "/mnt", "4", "0.001"]
    there_after = json.loads(small.run(there, {bundle.path: "/mnt"}).splitlines()[-1])
    here = plugins.load("edge.engines", "tflite").create(bundle)
    losses = [here.step(random_batch(bundle, 4), learning_rate=RATE)["loss"] for _ in range(STEPS)]
    assert there_after["loss"] == pytest.approx(losses[-1], abs=1e-5)
    machine = small.run(["/opt/murmur/bin/python3", "-c", "import platform; print(platform.machine())"])
    assert machine.strip() == "armv7l"


def rows(command: list[str], **options: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def play(folders: dict[str, Path], board: EmulatedBoard | None) -> dict[str, list[dict[str, float]]]:
    """Both devices to their last round, b on the board if there is one; the rows of each."""
    host = [str(Path(sys.executable).parent / "edge-node"), "--config", "node.toml", "--json"]
    nodes = {"a": rows(host, cwd=folders["a"])}
    if board is None:
        nodes["b"] = rows(host, cwd=folders["b"])
    else:
        there = ["/opt/murmur/bin/edge-node", "--config", f"{HOME}/node.toml", "--json"]
        # Every device has a folder that it calls its home; only b's is the board's.
        command = board.command(there, {folders["b"]: HOME}, HOME)
        nodes["b"] = rows(command, env=board.environment())
    played = {}
    for name, node in nodes.items():
        out, errors = node.communicate(timeout=170)
        assert node.returncode == 0, f"{name}: {errors}"
        played[name] = [json.loads(line) for line in out.splitlines()]
    return played


@pytest.fixture
def orchard(tmp_path: Path) -> Iterator[fleet.Fleet]:
    """A fleet with two enrolled devices, and its broker: TLS, certificates, access rules."""
    port = free_port(None)
    orchard = fleet.init(tmp_path / "orchard", "orchard", ["127.0.0.1"], port, peers=["a", "b"])
    (orchard.folder / "node.toml").write_text(pair.configuration(ROUNDS, 120.0, 10))
    with mosquitto.run(rules.configuration(orchard.broker, port, "127.0.0.1"), orchard.broker, port):
        yield orchard


def folder_of(orchard: fleet.Fleet, name: str) -> Path:
    """What goes to a device: its enrolment, the model, its data."""
    home = fleet.enrol(orchard, name, 30)
    assert fleet.reload(orchard)  # the broker takes messages of who is enrolled only
    pair.model(home / "bundle", "mlp:32")
    pair.digits(home / "digits.npz", 500)
    return home


def test_a_board_and_a_workstation_learn_from_each_other(orchard: fleet.Fleet, board: EmulatedBoard) -> None:
    """Over TLS and access rules; every loss as with two devices of one processor, to 1e-4."""
    folders = {name: folder_of(orchard, name) for name in "ab"}
    alike = play(folders, None)
    for folder in folders.values():
        shutil.rmtree(folder / "state")
    mixed = play(folders, board)
    for name in "ab":
        assert [row["round"] for row in mixed[name]] == [1, 2, 3]
        assert [row["timeouts"] for row in mixed[name]] == [0, 0, 0]
        for here, there in zip(alike[name], mixed[name], strict=True):
            assert there["loss"] == pytest.approx(here["loss"], abs=1e-4)
            assert there["accuracy_all"] == pytest.approx(here["accuracy_all"], abs=0.02)
    labels = [row["loss/cross_entropy"] for row in mixed["b"]]  # the other term begins with the second round
    assert labels[-1] < labels[0]
