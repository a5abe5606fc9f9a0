"""The documentation is run: every command in it, and nothing that exists is missing from it."""

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from broker import embedded
from edge import codec, plugins
from edge.config import NodeConfig
from edge.protocols import PROTOCOLS
from edge.storage import metrics_log
from edge_sim import boards
from edge_sim.scenario import Scenario

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BIN = Path(sys.executable).parent
FOREVER = (
    "edge-node",
    "edge-broker dev",
    "edge-broker monitor",
    "edge-broker dashboard",
    "edge-bench field",
    "edge-sim --watch",
)
"""Commands that run until they are stopped, or want boards: their flags are checked here; other tests run them."""


COMMANDS = ("dev", "monitor", "dashboard", "field")


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_run(page: Path, tmp_path: Path) -> None:
    # A branch for each kind of command, in the order in which a reader would meet them.
    for name in ("scenarios", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    for line in commands(page):
        words = shlex.split(line)
        if words[0] == "make":
            done = run(["make", "-n", "-C", str(ROOT), *words[1:]], tmp_path)
        elif words[0] == "pip":
            assert words == ["pip", "install", "-e", ".[all]"]
            assert re.search(r"^all = ", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
            continue
        elif line.startswith(FOREVER):
            flags = [w for w in words if w.startswith("--")]
            done = run([str(BIN / words[0]), *[w for w in words[1:2] if w in COMMANDS], "--help"], tmp_path)
            assert all(flag in done.stdout for flag in flags)
        elif words[0] == "python":
            if words[2].startswith("benchmarks"):
                pytest.importorskip("torch")  # what they compare with
            command = words[3:4] if words[2] == "firmware_scripts.field" else []
            done = run([sys.executable, *words[1:3], *command, "--help"], ROOT)
            assert all(w in done.stdout for w in words[3:] if w.startswith("--"))
        elif page.name == "results.md" and words[0] == "edge-bench":  # minutes each; bench.md has them in short
            done = run([str(BIN / words[0]), words[1], "--help"], tmp_path)
            assert all(flag in done.stdout for flag in words if flag.startswith("--"))
        else:
            assert words[0].startswith("edge-"), f"{page.name}: what is {line!r}?"
            done = run([str(BIN / words[0]), *words[1:]], tmp_path)
        assert done.returncode == 0, f"{page.name}: {line}\n{done.stdout}{done.stderr}"


def run(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("example", sorted((ROOT / "docs" / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_examples_run(example: Path, tmp_path: Path) -> None:
    assert f"examples/{example.name}" in (ROOT / "docs" / "emulator.md").read_text()
    done = run([sys.executable, "-W", "error", str(example)], tmp_path)
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("note: the input is standardized")]
    assert (done.returncode, complaints) == (0, [])
    assert done.stdout


def test_the_devices_of_the_first_steps_learn(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "first-steps.md").read_text(), flags=re.DOTALL)
    export = "edge-export zoo:mlp:32 -o first-bundle --shape 1x8x8 --objective d-distillation"
    assert export in commands(ROOT / "docs" / "first-steps.md")
    with embedded.running() as broker:
        first = example.replace("mqtt://127.0.0.1:1883", broker.url).replace("rounds = 50", "rounds = 5")
        second = first.replace('id = "device-0"', 'id = "device-1"').replace('"state-0"', '"state-1"')
        assert run([str(BIN / "edge-export"), *export.split()[1:]], tmp_path).returncode == 0
        for name, text in (("device-0.toml", first), ("device-1.toml", second)):
            (tmp_path / name).write_text(text)
        node = [str(BIN / "edge-node"), "--json", "--config"]
        with subprocess.Popen([*node, "device-1.toml"], cwd=tmp_path, stdout=subprocess.DEVNULL) as other:
            outcome = run([*node, "device-0.toml"], tmp_path)
        assert other.returncode == 0
    assert outcome.returncode == 0, outcome.stderr
    rows = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [row["round"] for row in rows] == [1, 2, 3, 4, 5]
    assert sum(row["accuracy_all"] for row in rows[3:]) > sum(row["accuracy_all"] for row in rows[:2])


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda p: p.name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    """Paths in backticks; those with a word in capitals are patterns."""
    folders = "edge|edge_sim|edge_bench|edge_report|export|broker|firmware_scripts|scenarios|tests|docs|benchmarks"
    for path in re.findall(rf"`((?:{folders})/[a-z0-9_./-]*)`", page.read_text()):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


@pytest.mark.parametrize("name", boards.names())
def test_every_board_is_named(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs" / "emulator.md").read_text()


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("command", plugins.names("edge_bench.commands"))
def test_every_measurement_is_explained(command: str) -> None:
    shown = [line.split()[1] for line in commands(ROOT / "docs" / "bench.md") if line.startswith("edge-bench")]
    assert command in shown or command in ("privacy", "reproduce", "sweep")  # trust.md; the first block; emulator.md
    assert f"`{command}`" in (ROOT / "docs" / "bench.md").read_text()


@pytest.mark.parametrize("name", Scenario.model_fields)
def test_every_key_of_a_scenario_is_explained(name: str) -> None:
    """A table has a row for each of its keys; tests/edge/test_flags.py compares all rows with the fields."""
    assert re.search(rf"\| `{name}(\.\w+)?` \|", (ROOT / "docs" / "scenario.md").read_text())


@pytest.mark.parametrize("name", [n for n in NodeConfig.model_fields if n not in ("split", "tls")])
def test_every_key_of_a_node_is_shown(name: str) -> None:
    assert re.search(rf"^\[?{name}\b", (ROOT / "docs" / "node.md").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("protocol", plugins.names("edge.protocols"))
def test_every_protocol_and_setting_is_explained(protocol: str) -> None:
    text = (ROOT / "docs" / "protocols.md").read_text()
    assert f"| `{protocol}` |" in text
    for field in dataclasses.fields(PROTOCOLS.load(protocol).settings):
        assert f"`{field.name}`" in text


@pytest.mark.parametrize(
    "package",
    [
        "edge.data",
        "edge.split",
        "edge.robust",
        "edge.privacy",
        "edge_sim.attacks",
        "export.zoo",
        "export.optimizers",
    ],
)
def test_every_choice_is_named(package: str) -> None:
    text = (ROOT / "docs" / "scenario.md").read_text()
    for name in plugins.names(package):
        assert re.search(rf"`{name}[`:\[]|zoo:{name}", text), f"{package}: {name} is not in docs/scenario.md"


@pytest.mark.parametrize("name", codec.names())
def test_every_coding_is_named(name: str) -> None:
    for page in ("scenario", "wire"):
        assert f"`{name}`" in (ROOT / "docs" / f"{page}.md").read_text(), f"{name} is not in docs/{page}.md"


def test_every_old_name_is_in_the_glossary() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    tables = [NodeConfig.RENAMED, Scenario.RENAMED, metrics_log.RENAMED]
    tables += [PROTOCOLS.load(name).renamed for name in PROTOCOLS.names()]
    for old, new in {pair for table in tables for pair in table.items()}:
        assert re.search(rf"\| `{old}`[^|]*\| `{new}` \|", text), f"docs/glossary.md lacks {old} -> {new}"


def test_the_example_of_the_wire_document() -> None:
    import numpy as np

    from edge.codec import decode, join

    text = (ROOT / "docs" / "wire.md").read_text()
    (example,) = re.findall(r"```\n(4d 75.*?)```", text, flags=re.DOTALL)
    message = join([decode(bytes.fromhex(example))])
    assert (message.round, message.digest.hex()) == (1, "0123456789abcdef")
    expected = np.array([[0.5, 0.25, 0.25], [1, 0, 0]], np.float32)
    np.testing.assert_allclose(message.values, expected, atol=1 / 255)
