"""A node within an application: real nodes, a real broker."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # noqa: TID251 - as another program would load the file
import pytest

from broker import embedded
from edge import Node, algorithm, cli
from edge.errors import ConfigError, DataError, MurmurError
from edge.node import Row
from tests.edge.application.models import CLASSES, blobs, mlp
from tests.waiting import eventually

D_DISTILLATION = " + ".join(algorithm.load("d-distillation", {}, "settings").objective)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with embedded.running() as broker:
        yield broker.url


@pytest.fixture
def settings(tmp_path: Path, url: str) -> dict[str, Any]:
    """Of two nodes, "a" and "b", but for their names and checkpoints."""
    mlp(tmp_path / "bundle", D_DISTILLATION)
    np.savez(tmp_path / "reference.npz", x=blobs(20, seed=9)[0])
    return {
        "folder": tmp_path,
        "fleet": tmp_path.name.replace("_", "-"),
        "broker": url,
        "peers": ["a", "b"],
        "topology": "complete",
        "bundle": "bundle",
        "reference": "npz:reference.npz",
        "round_timeout": 10,
        "settings": {"local_steps": 3, "learning_rate": 0.2},
    }


def pair(settings: dict[str, Any], **more: Any) -> list[Node]:
    return [Node(id=name, checkpoint=f"state-{name}", **settings, **more) for name in "ab"]


def test_two_nodes_learn_from_each_other_and_predict_meanwhile(settings: dict[str, Any], tmp_path: Path) -> None:
    """Neither has seen all classes; both tell all three apart in the end."""
    nodes, rows = pair(settings), [list[Row](), list[Row]()]
    x, y = blobs(300)
    for node, log in zip(nodes, rows, strict=True):
        node.on_round(log.append)
        with pytest.raises(ConfigError, match="has not finished a round yet"):
            node.predict(x)
    nodes[0].observe(x[y < 2], np.array(CLASSES)[y[y < 2]])
    nodes[1].observe(x[y > 0], y[y > 0])
    for node in nodes:
        node.start()
    eventually(lambda: all(map(len, rows)))
    test_x, test_y = blobs(100, seed=1)

    def both_know() -> bool:
        for node in nodes:
            node.observe(x[:1] if node is nodes[0] and y[0] < 2 else test_x[test_y == 1][:1], [1])
        return all((node.predict(test_x).argmax(axis=1) == test_y).mean() > 0.9 for node in nodes)

    eventually(both_know, 60)
    for node in nodes:
        node.stop()
    assert all(node.wait(20) for node in nodes)
    nodes[0].save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert np.abs(session.run(["probabilities"], {"x": test_x})[0] - nodes[0].predict(test_x)).max() < 1e-6


def test_it_resumes_with_all_that_it_observed(settings: dict[str, Any]) -> None:
    settings["round_timeout"] = 1  # both rest after what they have seen
    first, second = pair(settings)
    x, y = blobs(30)
    numbers = first.observe(x)
    for number, label in zip(numbers, y, strict=True):
        first.label(number, label)
    second.observe(x, y)
    rows: list[Row] = []
    first.on_round(rows.append)
    with first, second:
        eventually(lambda: len(rows) >= 2)
    again = Node(id="a", checkpoint="state-a", **settings)
    more: list[Row] = []
    again.on_round(more.append)
    with again:
        assert again.predict(x).shape == (30, 3)  # what it knew
        eventually(lambda: bool(more))
    assert more[0]["round"] == rows[-1]["round"] + 1
    assert "loss" in more[0]


def test_a_device_without_new_samples_rests_and_holds_nobody_up(settings: dict[str, Any]) -> None:
    """The other goes on with its own, round after round, without one timeout."""
    busy, idle = pair({**settings, "round_timeout": 60})
    x, y = blobs(30)
    rows, resting = list[Row](), list[Row]()
    idle.on_round(resting.append)

    def more(row: Row) -> None:
        rows.append(row)
        busy.observe(x[:1], y[:1])

    busy.on_round(more)
    busy.observe(x, y)
    with idle, busy:
        eventually(lambda: len(rows) >= 5)
    assert all(row["timeouts"] == 0 for row in rows)
    assert all(row["idle"] == 1 for row in resting)
    assert not any("idle" in row for row in rows)


def test_a_callback_may_stop_the_node_but_not_wait_for_it(settings: dict[str, Any]) -> None:
    node, other = pair(settings)
    reasons: list[str] = []

    def stop(row: Row) -> None:
        try:
            node.wait()
        except ConfigError as reason:
            reasons.append(str(reason))
        node.stop()

    node.on_round(stop)
    x, y = blobs(10)
    node.observe(x, y)
    with other:
        assert node.start().wait(30)
    assert len(reasons) == 1
    assert "call stop() there" in reasons[0]


def test_one_name_is_one_node(settings: dict[str, Any]) -> None:
    node = Node(id="a", checkpoint="state", **settings).start()
    try:
        with pytest.raises(ConfigError, match=r"a node 'a' of the fleet .* runs in this process already"):
            Node(id="a", checkpoint="other", **settings).start()
        with pytest.raises(ConfigError, match="a runs already"):
            node.start()
    finally:
        node.stop()
        assert node.wait(20)
    with Node(id="a", checkpoint="other", **settings):  # its name is free again
        pass


def test_what_breaks_the_node_is_raised_by_wait(settings: dict[str, Any]) -> None:
    node, other = pair(settings)

    def fail(row: Row) -> None:
        raise ZeroDivisionError

    node.on_round(fail)
    node.observe(*blobs(10))
    with other:
        node.start()
        with pytest.raises(ZeroDivisionError):
            node.wait(30)
    assert node.wait()


def test_asyncio(settings: dict[str, Any]) -> None:
    node, other = pair(settings)
    rows: list[Row] = []
    node.on_round(rows.append)

    async def learn() -> None:
        async with node, other:
            node.observe(*blobs(10))
            while not rows:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(learn(), 30))
    assert rows


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (np.zeros((2, 3)), None, r"x: bundle takes \[n, 4\]"),
        (np.zeros((2, 4)), [0, 5], "row 1 has the label 5"),
        (np.zeros((2, 4)), [0], r"y: expected \[2\], got \[1\]"),
        (np.full(4, np.inf), [0], "x holds NaN or infinite"),
    ],
)
def test_bad_samples_are_refused_whole(x: object, y: object, reason: str, settings: dict[str, Any]) -> None:
    node = Node(id="a", checkpoint="state", **settings)
    with pytest.raises(DataError, match=reason):
        node.observe(x, y)
    assert node.observe(np.zeros(4), 1) == [1]
    with pytest.raises(DataError, match="label 'down'"):
        node.label(1, "down")
    with pytest.raises(DataError, match="no sample 7"):
        node.label(7, "up")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"checkpoint": None}, "name a folder as `checkpoint`"),
        ({"store": "heap:5"}, "store 'heap:5': expected ring:CAPACITY"),
        ({"id": "c"}, "id 'c' is not one of the peers"),
        ({"protocol": "pooled"}, "pooled takes its samples at the start; samples may arrive with: .*d-distillation"),
        ({"reference": "300"}, "give no reference set that all devices share"),
        ({"save": "best"}, "no test part of the data to judge by"),
        ({"rownds": 3}, "rownds: no such key"),
        ({"broker": "mqtt://127.0.0.1:9"}, "127.0.0.1:9"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, Any], reason: str, settings: dict[str, Any]) -> None:
    with pytest.raises(MurmurError, match=reason):
        Node(**{"id": "a", "checkpoint": "state", **settings, **change}).start()


def test_the_command_predicts_from_the_checkpoint_and_the_model_is_saved(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del settings["settings"], settings["folder"]
    lines = [f"{key} = {value!r}" for key, value in settings.items()]
    lines += ["id = 'a'", "checkpoint = 'state-a'", "save = 'last'", "store = 'ring:50'", "rounds = 2"]
    (tmp_path / "node.toml").write_text("\n".join(lines).replace("round_timeout = 10", "round_timeout = 0.5"))
    x, y = blobs(30)
    np.savez(tmp_path / "x.npz", x=x)
    with Node.from_config(tmp_path / "node.toml") as node:  # alone: it does not wait long for "b"
        node.observe(x, y)
        assert node.wait(30)
    expected = node.predict(x)
    command = ["edge-node", "predict", "--config", str(tmp_path / "node.toml")]
    monkeypatch.setattr("sys.argv", [*command, "--input", f"npz:{tmp_path / 'x.npz'}", "--json"])
    assert cli.main() == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert np.array_equal(np.array([answer["outputs"] for answer in answers], np.float32), expected)
    assert [answer["class"] for answer in answers] == [CLASSES[k] for k in expected.argmax(axis=1)]
    session = onnxruntime.InferenceSession(tmp_path / "state-a" / "model.onnx", providers=["CPUExecutionProvider"])
    assert np.abs(session.run(["probabilities"], {"x": x})[0] - expected).max() < 1e-6
    for words, reason in {("--input", "x.npz"): "expected a source of samples", (): "--input SOURCE goes with"}.items():
        monkeypatch.setattr("sys.argv", [*command, *words])
        assert cli.main() == 2
        assert reason in capsys.readouterr().err
