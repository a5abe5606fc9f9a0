"""What goes to a board: the folder of wheels, its refusals, and the unit."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ConfigError
from firmware_scripts import emulated, wheelhouse
from tests.programs import program_or_skip
from tests.refusals import refusal

UNIT = wheelhouse.DEVICE / "murmur-node.service"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--arch", "armv5"], "--arch armv5: there are: aarch64, armv7l, x86_64"),
        (["--engine", "caffe"], "--engine caffe: for aarch64 there are: onnxruntime, tflite"),
        (["--python", "2.7"], "pip download failed: "),
        (["-o", "no/wheels"], "-o no/wheels: there is no folder no"),
        (["-o", "."], ". is there already; name another, or remove it"),
    ],
)
def test_bad_input_leaves_nothing(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaint in refusal(wheelhouse.main, "wheelhouse", ["-o", "wheels", *words], monkeypatch, capsys)
    assert list(tmp_path.iterdir()) == []


def test_an_emulated_board_needs_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(
        ConfigError, match=r"apt-get install .*mmdebstrap arch-test qemu-user-static binfmt-support proot"
    ):
        emulated.make("aarch64", tmp_path)
    with pytest.raises(ConfigError, match="nothing here emulates m68k; there is: aarch64, armv7l"):
        emulated.make("m68k", tmp_path)
    assert list(tmp_path.iterdir()) == []


def analyze(*words: str) -> "subprocess.CompletedProcess[str]":
    program = program_or_skip("systemd-analyze")
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)


def root_with(text: str, folder: Path) -> Path:
    """A system's root with the unit, and something to start."""
    (folder / "etc/systemd/system").mkdir(parents=True)
    (folder / "opt/murmur/bin").mkdir(parents=True)
    (folder / "etc/systemd/system/murmur-node.service").write_text(text)
    shutil.copy(sys.executable, folder / "opt/murmur/bin/edge-node")
    return folder


def test_systemd_knows_every_key_of_the_unit(tmp_path: Path) -> None:
    def errors(text: str, folder: str) -> str:
        return analyze("verify", f"--root={root_with(text, tmp_path / folder)}", "murmur-node.service").stderr

    assert "nknown" not in errors(UNIT.read_text(), "right")
    assert "ProtectEverything" in errors(UNIT.read_text().replace("ProtectHome=", "ProtectEverything="), "wrong")


def test_the_unit_is_as_closed_as_it_can_be(tmp_path: Path) -> None:
    """1.3 of 10, by systemd's own count; a unit without the hardening has 9.6."""
    root = root_with(UNIT.read_text(), tmp_path)
    done = analyze("security", "--offline=true", f"--root={root}", "--threshold=15", "murmur-node.service")
    assert done.returncode == 0, done.stdout[-300:]


def test_the_unit_listens_to_signs_of_life() -> None:
    lines = dict(line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and line[0].isupper())
    assert lines["Type"] == "notify"
    assert lines["WatchdogSec"] == "15min"
    assert lines["StateDirectory"] in lines["WorkingDirectory"]


def test_the_installer_is_a_shells() -> None:
    subprocess.run(["sh", "-n", str(wheelhouse.DEVICE / "install.sh")], check=True)
