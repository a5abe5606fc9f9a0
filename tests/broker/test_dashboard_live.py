"""The dashboard as somebody sees it: served beside a real broker, in a real browser, and in a terminal."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker import embedded
from tests.asking import ask
from tests.programs import program_or_skip
from tests.waiting import eventually

BIN = Path(sys.executable).parent


def started(*words: str) -> subprocess.Popen[str]:
    """Start edge-broker; it runs until it is asked to stop."""
    return subprocess.Popen([BIN / "edge-broker", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def dashboard(url: str, *flags: str) -> Iterator[str]:
    """The command, on any port; its page."""
    words = ["dashboard", "--broker", url, "--fleet", "show", "--listen", "127.0.0.1:0", "--json", *flags]
    process = started(*words)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())["url"]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def seen(url: str, folder: Path, *flags: str) -> str:
    """The page as a browser has made it, after it has looked twice."""
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *quiet]
    where = [f"--user-data-dir={folder}", "--virtual-time-budget=5000", *flags]
    done = subprocess.run(
        [*command, *where, "--dump-dom", url], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


@pytest.mark.slow
def test_a_running_fleet_in_a_real_browser(tmp_path: Path) -> None:
    program_or_skip("chromium")
    small = ["--devices", "5", "--model", "zoo:mlp:8", "--rounds", "100000", "--split", "classes:4"]
    with embedded.running() as broker, dashboard(broker.url) as url:
        over = ["--transport", "mqtt", "--broker", broker.url, "--fleet", "show"]
        fleet = subprocess.Popen(
            [BIN / "edge-sim", *small, *over], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            eventually(lambda: len(ask(f"{url}api/fleet")[1]["curves"].get("accuracy_all", [])) > 5, 60)
            page = seen(url, tmp_path / "profile")
            for word in ("5 of 5 devices online", "mean accuracy", "10 directions", "consensus distance"):
                assert word in page, word
            assert page.count('class="link"') == 5
            assert page.count('class="curve"') == 3
            assert page.count("<td><a") + page.count('<td class="off"><a') == 5
            one = seen(f"{url}#/device/device-3", tmp_path / "profile")
            assert "last seen" in one
            assert "<td>device-2</td>" in one
            assert "loss/soft_cross_entropy(reference)" in one
            phone = ["--window-size=390,800", f"--screenshot={tmp_path / 'phone.png'}"]
            seen(url, tmp_path / "profile", *phone)
        finally:
            fleet.kill()
            fleet.wait()
        eventually(lambda: all("silent" in d["alarms"] for d in ask(f"{url}api/fleet")[1]["devices"]), 60)
        assert "Alarms (5)" in seen(url, tmp_path / "profile")


def test_the_text_view_of_a_broker() -> None:
    with embedded.running() as broker:
        words = ["dashboard", "--broker", broker.url, "--fleet", "show", "--text"]
        process = subprocess.Popen(
            [BIN / "edge-broker", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert "0 of 0 online" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")
