"""The page's modules against Python's: settings, digests, data, mathematics, and a network that loses messages."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import bundle, data, reference
from edge.graph import mixing
from edge.graph.topology import build
from edge.protocols import d_distillation
from edge.protocols._consensus import distilled
from edge.protocols._local import LocalSettings
from edge.weighting import Opinion, load, nothing
from export import zoo
from export.write import export
from tests.web.programs import node

FOLDER = Path(__file__).parent
GOOD: dict[str, Any] = {
    "fleet": "orchard",
    "broker": "ws://127.0.0.1:9001",
    "peers": ["a", "b", "c"],
    "bundle": "bundle",
    "reference": "reference.npz",
    "settings": {"mixing": "plain"},
}


@pytest.fixture
def calls(tmp_path: Path) -> Any:
    """Carry out calls in JavaScript, and return what each gave."""

    def carried_out(wanted: list[dict[str, Any]]) -> list[Any]:
        (tmp_path / "calls.json").write_text(json.dumps(wanted))
        results: list[Any] = json.loads(node(FOLDER / "page.mjs", tmp_path / "calls.json"))
        return results

    return carried_out


def test_settings_that_a_page_cannot_honour_are_refused(calls: Any) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"broker": "mqtt://127.0.0.1"}, "a page needs WebSockets"),
        ({"protocol": "fedavg"}, "d-distillation only"),
        ({"settings": {}}, 'settings.mixing: expected "plain"'),
        ({"settings": {"mixing": "tracking"}}, 'settings.mixing: expected "plain"'),
        ({"settings": {"mixing": "plain", "subset": 20}}, "no setting 'settings.subset'"),
        ({"settings": {"mixing": "plain", "local_steps": 0}}, "local_steps: expected a number above 0"),
        ({"privacy": {}}, "no setting 'privacy'"),
        ({"peers": ["b", "c"]}, "id 'a': expected one of the peers: b, c"),
        ({"peers": ["a", "../b"]}, "'../b' is no name"),
        ({"rounds": "ten"}, "rounds: expected a number above 0, got ten"),
    ]
    wanted = [{"call": "settings", "given": {**GOOD, **change}, "id": "a"} for change, _ in bad]
    lacking = {key: value for key, value in GOOD.items() if key != "reference"}
    complete, lack, *refused = calls(
        [{"call": "settings", "given": GOOD, "id": "a"}, {"call": "settings", "given": lacking, "id": "a"}, *wanted]
    )
    assert (complete["rounds"], complete["settings"]["learning_rate"]) == (100, None)
    assert "the settings lack 'reference'" in lack["refused"]
    for (_, complaint), outcome in zip(bad, refused, strict=True):
        assert complaint in outcome["refused"]


def test_the_learning_rate_is_that_of_a_node(calls: Any) -> None:
    """The bundle's optimizer decides, unless the settings do."""
    optimizers = ["sgd", "momentum", "nesterov", "adam", "rmsprop"]
    usual, chosen = calls(
        [{"call": "rates", "learning": {"learning_rate": rate}, "optimizers": optimizers} for rate in (None, 0.5)]
    )
    assert usual == [LocalSettings().initial_rate(name) for name in optimizers]
    assert chosen == [0.5] * len(optimizers)


@pytest.mark.parametrize("topology", ["ring", "complete", "star"])
def test_the_weights_are_those_of_a_node(topology: str, calls: Any) -> None:
    wanted, expected = [], []
    for count in (2, 3, 4, 7):
        peers = [f"device-{i}" for i in range(count)]
        by_node = mixing.metropolis(build(topology, peers, 0))
        for name in peers:
            wanted.append({"call": "weights", "given": {"peers": peers, "topology": topology}, "id": name})
            expected.append({other: weight for other, weight in by_node[name].items() if other != name})
    for weights, mine in zip(calls(wanted), expected, strict=True):
        assert weights == pytest.approx(mine)


def test_the_digest_is_that_of_a_node(tmp_path: Path, calls: Any) -> None:
    x = np.random.default_rng(3).standard_normal((5, 1, 2, 2)).astype(np.float32)
    wanted, expected = [], []
    for names in ((), ("cat", 'a "dog"', "Eule öäü 🦉")):
        model = zoo.build("mlp:2", shape=(1, 2, 2), classes=3)
        opened = export(model, tmp_path / f"bundle-{len(names)}", class_names=names)
        manifest = json.loads((opened.path / bundle.MANIFEST).read_text())
        rows = {"shape": x.shape, "data": x.ravel().tolist()}
        wanted.append({"call": "digest", "reference": rows, "manifest": manifest})
        expected.append(opened.manifest.with_classes(reference.of(x).digest).hex())
    assert calls(wanted) == expected


def test_opinions_and_targets_are_those_of_a_node(calls: Any) -> None:
    random = np.random.default_rng(4)
    p = random.dirichlet(np.full(5, 0.3), 20)
    mean = random.dirichlet(np.ones(6), 20) + 0.2 * random.standard_normal((20, 6))
    sure, target, empty = calls(
        [
            {"call": "certainty", "rows": p.tolist()},
            {"call": "targets", "mean": mean.ravel().tolist(), "classes": 5},
            {"call": "targets", "mean": [0, 0, 1], "classes": 2},
        ]
    )
    expected = load("entropy").weigh(Opinion(p, nothing, nothing)).ravel()
    np.testing.assert_allclose(sure, expected, atol=1e-12)
    np.testing.assert_allclose(np.reshape(target, (20, 5)), distilled(mean, 5), rtol=1e-6)
    assert empty == [0, 0]


@pytest.mark.parametrize("row", [[0.5, 0.5], [1.5, -0.5], [3.5, -2.5], [0.5, 0.6], [-2.5, 3.5], [1e30, -1e30]])
def test_what_is_plausible_to_a_node_is_to_a_page(row: list[float], calls: Any) -> None:
    rows = [[0.25, 0.75], row]
    assert calls([{"call": "plausible", "rows": rows}]) == [d_distillation.plausible(np.array(rows, np.float32))]


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "u1", "<i2", "<u2", "<i4", "<i8"])
def test_an_archive_is_read_as_a_node_reads_it(dtype: str, tmp_path: Path, calls: Any) -> None:
    x = np.random.default_rng(5).integers(0, 100, (7, 1, 2, 3)).astype(dtype)
    arrays: dict[str, Any] = {
        "x_train": x,
        "y_train": np.arange(7) % 3,
        "x_test": x[:2],
        "y_test": np.array([0, 2], np.uint8),
    }
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "small.npz", **arrays)
    expected = data.load(f"npz:{tmp_path}/plain.npz", 0)
    files = [str(tmp_path / name) for name in ("plain.npz", "small.npz")]
    for outcome in calls([{"call": "read", "file": file} for file in files]):
        assert outcome["x"]["shape"] == [7, 1, 2, 3]
        np.testing.assert_allclose(outcome["x"]["data"], expected.x_train.ravel(), rtol=1e-6)
        np.testing.assert_allclose(outcome["test"]["x"]["data"], expected.x_test.ravel(), rtol=1e-6)
        assert (outcome["y"]["data"], outcome["test"]["y"]["data"]) == ([0, 1, 2, 0, 1, 2, 0], [0, 2])


def test_tables(tmp_path: Path, calls: Any) -> None:
    texts = {
        "good.csv": "a,label,b\n1,0,2.5\n3,1,-4\n",
        "nameless.csv": "a,b\n1,2\n",
        "short.csv": "a,label\n1,0\n2\n",
        "words.csv": "a,label\n1,cat\n",
        "none.npz": "no archive",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    np.savez(tmp_path / "objects.npz", x=np.array([["a"]]), y=np.zeros(1))
    np.savez(tmp_path / "unequal.npz", x=np.zeros((2, 3)), y=np.zeros(3, int))
    np.savez(tmp_path / "holed.npz", x=np.array([[np.nan]]), y=np.zeros(1, int))
    names = [*texts, "objects.npz", "unequal.npz", "holed.npz"]
    good, *refused = calls([{"call": "read", "file": str(tmp_path / name)} for name in names])
    assert good["x"] == {"shape": [2, 2], "data": [1, 2.5, 3, -4]}
    assert good["y"]["data"] == [0, 1]
    words = ('called "label"', "line 3: expected 2 numbers", "line 2: expected 2 numbers", "no NumPy archive")
    for complaint, outcome in zip((*words, "type <U1", "2 samples and 3 labels", "not finite"), refused, strict=True):
        assert complaint in outcome["refused"]


def test_what_is_lost_is_requested_and_what_is_wrong_is_counted() -> None:
    """Among three mailboxes; the script loses the first messages of a to c, and the second of b to a."""
    fleet = json.loads(node(FOLDER / "mailbox.mjs"))
    assert len({device["run"] for device in fleet.values()}) == 1
    for name, device in fleet.items():
        assert [number for number, _ in device["rounds"]] == [1, 2, 3, 4]
        for number, received in device["rounds"]:
            assert received.keys() == fleet.keys() - {name}
            for sender, values in received.items():
                place = "abc".index(sender) / 51
                assert values == pytest.approx([number / 51, 1 - number / 51, 0, place, 0, 1 - place])
    assert fleet["b"]["counts"]["duplicate"] + fleet["b"]["counts"]["late"] >= 3  # the second copies
    assert (fleet["b"]["counts"]["foreign"], fleet["c"]["counts"]["foreign"]) == (1, 1)
    assert (fleet["c"]["counts"]["malformed"], fleet["a"]["counts"]["malformed"]) == (1, 0)
