"""The one list of the system's packages, and who reads it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ConfigError
from firmware_scripts import system_packages
from firmware_scripts.wheelhouse import ROOT
from tests.refusals import refusal

LISTED = system_packages.packages()
CALL = re.compile(r"firmware_scripts\.system_packages((?: +[a-z]+)*)")


def test_every_program_is_of_the_package_that_names_it() -> None:
    if shutil.which("dpkg") is None:
        pytest.skip("no Debian")
    absent = system_packages.missing()
    for package, shows in LISTED.items():
        if package in absent:
            continue
        files = subprocess.run(["dpkg", "--listfiles", package], capture_output=True, text=True, check=True).stdout
        for shown in shows:
            paths = (
                [shown] if shown.startswith("/") else [f"/{d}/{shown}" for d in ("bin", "sbin", "usr/bin", "usr/sbin")]
            )
            assert set(paths) & set(files.splitlines()), f"{package} has no {shown}"


def test_what_is_missing_is_one_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(system_packages, "program", lambda name: None if name in ("rauc", "mksquashfs") else "/bin/x")
    assert system_packages.missing("image", "update") == ["rauc", "squashfs-tools"]
    with pytest.raises(ConfigError, match=r"apt-get install --no-install-recommends rauc squashfs-tools$"):
        system_packages.require("bootstrap", "update")
    line = refusal(system_packages.main, "system_packages", ["update"], monkeypatch, capsys)
    assert line.rstrip().endswith("apt-get install --no-install-recommends rauc squashfs-tools")
    assert system_packages.main(["bootstrap", "image"]) == 0


def test_files_show_a_package_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "list.toml").write_text(f'[some]\nthere = ["{tmp_path}/file"]\naway = ["{tmp_path}/none", "sh"]\n')
    (tmp_path / "file").touch()
    monkeypatch.setattr(system_packages, "FILE", tmp_path / "list.toml")
    assert system_packages.missing("some") == ["away"]


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert system_packages.main(["--list"]) == 0
    assert capsys.readouterr().out.split() == list(LISTED)
    assert len(set(LISTED)) == len(LISTED)


def test_no_such_purpose(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(system_packages.main, "system_packages", ["flying"], monkeypatch, capsys)
    assert "no purpose 'flying'; there are: tests, bootstrap, emulation, image, update, virtual" in line


def test_no_other_file_has_a_list_of_its_own() -> None:
    """What installs or checks asks for purposes; a page or script that named packages would miss the next one."""
    for name in (".ci/run", "Makefile", "docs/boards.md"):
        text = (ROOT / name).read_text()
        calls = CALL.findall(text)
        assert calls, f"{name} does not read the list"
        for purposes in calls:
            system_packages.packages(*purposes.split())
        for line in text.splitlines():
            named = [package for package in LISTED if re.search(rf"(?<![\w/.-]){package}(?![\w/.-])", line)]
            assert len(named) < 3, f"{name} names packages: {line}"


def test_an_image_test_asks_before_it_builds() -> None:
    # make announces its directory where another make has started the tests, as CI does.
    command = ["make", "-n", "--no-print-directory", "image-test"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert "system_packages" in lines[0]
    assert "boot.py" in lines[-1]


def test_a_fresh_machine_can_ask() -> None:
    """.ci/run asks before anything is installed: -S leaves out every installed package."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "firmware_scripts.system_packages", "--list"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == list(LISTED)
