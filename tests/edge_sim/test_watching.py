"""edge-sim --watch: the emulated fleet on the dashboard, and in text where nobody can open a page."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from edge_sim import watching


def test_a_page_that_stays_until_it_is_told_to_go() -> None:
    words = ["--watch", "--devices", "4", "--model", "zoo:mlp:8", "--rounds", "5", "--evaluate-every", "5"]
    blind = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")}
    process = subprocess.Popen(
        [Path(sys.executable).parent / "edge-sim", *words], stdout=subprocess.PIPE, text=True, env=blind
    )
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    printed = ""
    while "stays until Ctrl-C" not in printed:
        printed += process.stdout.readline()
    with urllib.request.urlopen(f"{url}api/fleet", timeout=10) as answer:
        fleet = json.load(answer)
    assert (fleet["fleet"], fleet["place"]) == ("d-distillation", "memory")
    assert [d["round"] for d in fleet["devices"]] == [5] * 4
    assert len(fleet["links"]) == 8
    assert [number for number, _ in fleet["curves"]["accuracy_all"]] == [1, 2, 3, 4, 5]
    assert not any(d["alarms"] for d in fleet["devices"])
    assert "4 of 4 online" in printed  # the text view
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize(("environment", "seen"), [({}, False), ({"BROWSER": "true"}, True)])
def test_where_a_page_can_be_opened(environment: dict[str, str], seen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr("webbrowser.get", lambda: object())
    assert watching.browser() is seen
