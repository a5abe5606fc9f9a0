"""Two pages in a browser and one real `edge-node` learn together, over a real broker on loopback."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from broker import embedded
from broker.process import free_port
from edge import data
from export import zoo
from export.write import export
from tests.programs import program_or_skip
from tests.waiting import eventually
from tests.web.browser import shown
from tests.web.programs import WEB, beside

BIN = Path(sys.executable).parent
ROUNDS = 8
PEERS = ["node", "page-a", "page-b"]
CLASSES = {"node": (0, 1, 2, 3), "page-a": (3, 4, 5, 6), "page-b": (6, 7, 8, 9)}
SETTINGS = {"mixing": "plain", "local_steps": 20, "learning_rate": 0.2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page beside a bundle, a reference set, and data in which every device lacks six of ten classes."""
    program_or_skip("mosquitto")
    folder = beside(tmp_path / "site", WEB / "index.html")
    shutil.copytree(WEB / "wire", folder / "wire")
    objective = "cross_entropy + soft_cross_entropy(reference)"
    export(zoo.build("mlp:16", shape=(1, 8, 8), classes=10), folder / "bundle", objective=objective)
    digits = data.load("digits", 0)
    test: dict[str, Any] = {"x_test": digits.x_test, "y_test": digits.y_test}
    np.savez(folder / "reference.npz", x=digits.x_train[:300])
    for name, classes in CLASSES.items():
        mine = np.isin(digits.y_train, classes) & (np.arange(len(digits.y_train)) >= 300)
        np.savez_compressed(folder / f"{name}.npz", x_train=digits.x_train[mine], y_train=digits.y_train[mine], **test)
    return folder


def node_settings(url: str) -> str:
    lines = [
        'id = "node"',
        'fleet = "pages"',
        f'broker = "{url}"',
        f"peers = {json.dumps(PEERS)}",
        'bundle = "bundle"',
        'data = "npz:node.npz"',
        'reference = "npz:reference.npz"',
        f"rounds = {ROUNDS}",
        "[settings]",
        *(f"{key} = {json.dumps(value)}" for key, value in SETTINGS.items()),
    ]
    return "\n".join(lines) + "\n"


def page_settings(port: int) -> str:
    settings = {"fleet": "pages", "broker": f"ws://127.0.0.1:{port}", "peers": PEERS, "rounds": ROUNDS}
    files = {"bundle": "bundle", "reference": "reference.npz"}
    return json.dumps({**settings, **files, "settings": SETTINGS})


def rounds(text: str) -> list[tuple[int, float, int]]:
    """(round, accuracy on all classes, neighbours that answered) of each round that a page shows."""
    rows = re.findall(r"^round (\d+) loss \S+ accuracy (\S+) from (\d) of 2$", text, flags=re.MULTILINE)
    return [(int(number), float(accuracy), int(answers)) for number, accuracy, answers in rows]


def test_two_pages_and_a_node_learn_together(folder: Path, tmp_path: Path) -> None:
    pages = [f"/index.html?id={name}&data={name}.npz" for name in PEERS[1:]]
    pages.append("/index.html?id=page-c&data=page-a.npz")
    port = free_port(None)
    with embedded.running("mosquitto", websockets=port) as broker:
        (folder / "node.toml").write_text(node_settings(broker.url))
        (folder / "fleet.json").write_text(page_settings(port))
        with subprocess.Popen(
            [BIN / "edge-node", "--config", "node.toml", "--json"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as node:
            with shown(folder, tmp_path / "profile", *pages) as texts:
                eventually(lambda: all("done" in text or "error" in text for text in texts.now), 120)
            output, errors = node.communicate(timeout=60)
    assert node.returncode == 0, errors
    accuracies = {"node": [json.loads(line)["accuracy_all"] for line in output.splitlines()]}
    *learners, stranger = texts.now
    assert "error: id 'page-c': expected one of the peers: node, page-a, page-b" in stranger
    for name, text in zip(PEERS[1:], learners, strict=True):
        rows = rounds(text)
        assert [row[0] for row in rows] == list(range(1, ROUNDS + 1)), text
        assert "refused: nothing" in text
        accuracies[name] = [row[1] for row in rows]
    y_test = data.load("digits", 0).y_test
    for name, values in accuracies.items():
        alone = float(np.isin(y_test, CLASSES[name]).mean())  # who has seen four classes is right about these at best
        assert values[-1] > alone + 0.1, (name, values)
