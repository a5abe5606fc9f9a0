"""edge-node: two processes and a real broker."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from broker import embedded
from edge import algorithm, cli, data
from edge.application import session
from edge.node import Row
from edge.storage import checkpoint_files
from export import zoo
from export.write import export

COMMAND = Path(sys.executable).parent / "edge-node"


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with embedded.running() as running:
        yield running.url


@pytest.fixture
def pair(tmp_path: Path, broker: str) -> list[Path]:
    """Configurations of two devices; each holds five of the ten digits."""
    objective = " + ".join(algorithm.load("d-distillation", {}, "settings").objective)
    export(zoo.build("mlp:32", shape=(1, 8, 8), classes=10), tmp_path / "bundle", objective=objective)
    paths = []
    for me in "ab":
        paths.append(tmp_path / f"{me}.toml")
        paths[-1].write_text(
            f"""
            id = "{me}"
            fleet = "{tmp_path.name[-20:]}"
            broker = "{broker}"
            peers = ["a", "b"]
            topology = "complete"
            bundle = "bundle"
            data = "digits"
            split = "classes:5"
            rounds = 60
            checkpoint = "state-{me}"
            [settings]
            local_steps = 10
            learning_rate = 0.2
            """
        )
    return paths


def start(config: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [COMMAND, "--config", config, "--json", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What edge-node says in one line when it cannot begin."""
    monkeypatch.setattr(sys, "argv", ["edge-node", *words])
    assert cli.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("edge-node: error: ")
    assert error.count("\n") == 1
    return error


def finish(process: "subprocess.Popen[str]") -> list[dict[str, float]]:
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return [json.loads(line) for line in out.splitlines()]


def test_two_processes_learn_from_each_other(pair: list[Path]) -> None:
    rows = [finish(process) for process in [start(path) for path in pair]]
    for mine in rows:
        assert mine[-1]["round"] == 60
        assert mine[-1]["accuracy_all"] > 0.7  # alone, five classes of ten are at most about 0.5
        assert sum(row["timeouts"] for row in mine) == 0


def test_a_device_that_is_killed_goes_on_where_it_was(pair: list[Path], tmp_path: Path) -> None:
    first, second = start(pair[0]), start(pair[1])
    assert second.stdout is not None
    for _ in range(20):
        second.stdout.readline()
    second.kill()
    second.communicate()
    kept = checkpoint_files.read(tmp_path / "state-b")
    assert kept is not None
    assert kept[0] >= 20
    again = finish(start(pair[1]))
    assert again[0]["round"] == kept[0] + 1
    assert again[-1]["round"] == 60
    assert finish(first)[-1]["accuracy_all"] > 0.7


def test_devices_with_different_classes_in_their_files(pair: list[Path], tmp_path: Path) -> None:
    """One with digits 0 to 3, one with 4 to 9 and no test part: both start, and the former learns all ten."""
    whole = data.load("digits", 0)
    np.savez(tmp_path / "reference.npz", x=whole.x_train[::4])
    low = whole.y_train < 4
    tests: dict[str, Any] = {"x_test": whole.x_test, "y_test": whole.y_test}
    for path, mine, test in zip(pair, (low, ~low), (tests, {}), strict=True):
        np.savez(path.with_suffix(".npz"), x_train=whole.x_train[mine], y_train=whole.y_train[mine], **test)
        text = path.read_text().replace(
            'data = "digits"', f'data = "npz:{path.stem}.npz"\nreference = "npz:reference.npz"'
        )
        path.write_text(text.replace('split = "classes:5"', ""))
    low_rows, high_rows = [finish(process) for process in [start(path) for path in pair]]
    assert sum(row["timeouts"] for row in low_rows + high_rows) == 0
    assert low_rows[-1]["accuracy_all"] > 0.7  # alone, four classes of ten are at most about 0.4
    assert all("accuracy_all" not in row for row in high_rows)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('id = "a"', 'id = "z"', "id 'z' is not one of the peers: a, b"),
        ('id = "a"', "", "id '' is not one of the peers: a, b"),
        ('id = "a"', 'role = "server"', "role 'server': d-distillation has no centre"),
        ("rounds = 60", "rounds = -1", "rounds: Input should be greater than or equal to 0 (got -1)"),
        ("rounds = 60", "turns = 60", "turns: no such key"),
        ("local_steps = 10", "steps = 10", "settings.steps: no such setting"),
        ('bundle = "bundle"', 'bundle = "elsewhere"', "is not a bundle"),
        ('data = "digits"', 'data = "npz:none.npz"', "none.npz cannot be read"),
        ('topology = "complete"', 'topology = "tree"', "topology 'tree' is neither a file nor one of"),
        ('topology = "complete"', 'protocol = "gossip"', "unknown protocol 'gossip'"),
        ('topology = "complete"', 'protocol = "d-psgd"', "d-psgd needs the objective 'cross_entropy'"),
        ("mqtt://127.0.0.1:", "mqtt://127.0.0.1:1#", "no MQTT broker answers at mqtt://127.0.0.1:1"),
        ("mqtt://", "amqp://", "must be mqtt://HOST[:PORT]"),
    ],
)
def test_bad_input_is_one_line(
    old: str,
    new: str,
    complaint: str,
    pair: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pair[0].write_text(pair[0].read_text().replace(old, new))
    assert complaint in refusal(monkeypatch, capsys, "--config", str(pair[0]))
    assert not (pair[0].parent / "state-a").exists()


def test_tflite_with_a_backbone(pair: list[Path], tmp_path: Path) -> None:
    """Two devices whose head and backbone both run on TFLite learn the other's digits."""
    from export.transforms.backbone import read
    from tests.edge.test_backbone import FEATURES, MODEL

    cut = read(MODEL, FEATURES, 0.0, 1.0)
    model = zoo.build("linear", shape=(cut.features,), classes=10)
    export(
        model, tmp_path / "head", objective="cross_entropy + soft_cross_entropy(reference)", rows=(32, 32), backbone=cut
    )
    for path in pair:
        text = path.read_text().replace('bundle = "bundle"', 'bundle = "head"\nengine = "tflite"')
        path.write_text(text.replace("learning_rate = 0.2", "learning_rate = 0.3\ndistillation_weight = 5.0"))
    rows = [finish(process) for process in [start(path) for path in pair]]
    for device in rows:
        assert device[-1]["round"] == 60
        assert device[-1]["accuracy_all"] > 0.8
    assert checkpoint_files.read(tmp_path / "state-a") is not None


def test_tuning(pair: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from edge.engines import _tuning

    monkeypatch.setattr(_tuning, "SECONDS", 0.01)
    monkeypatch.setattr(sys, "argv", ["edge-node", "tune", "--config", str(pair[0])])
    assert cli.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert "ms a step" in lines[0]
    assert lines[-1].startswith("kept in state-a/: threads")
    assert (pair[0].parent / "state-a" / _tuning.FILE).is_file()
    monkeypatch.setattr(sys, "argv", ["edge-node", "tune", "--config", str(pair[0]), "--json"])
    assert cli.main() == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["chosen"] == outcome["trials"][0]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('checkpoint = "state-a"', "", "checkpoint: name a folder; what tuning finds is kept there"),
        ('topology = "complete"', 'engine = "tflite"', "engine: tflite has nothing to tune; onnx-runtime has"),
    ],
)
def test_nothing_to_tune(
    old: str,
    new: str,
    complaint: str,
    pair: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pair[0].write_text(pair[0].read_text().replace(old, new))
    assert complaint in refusal(monkeypatch, capsys, "tune", "--config", str(pair[0]))


def test_a_checkpoint_of_another_model(
    pair: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint_files.write(pair[0].parent / "state-a", 7, {"engine/parameter/other": np.zeros(3, np.float32)})
    assert "is of another model or protocol" in refusal(monkeypatch, capsys, "--config", str(pair[0]))


class Ended:
    """A session that ends as it is told to."""

    first = 4

    def __init__(self, *rounds: float) -> None:
        self.played = rounds

    def rows(self, alive: Callable[[], None]) -> Iterator[Row]:
        for number in self.played:
            yield {"round": number, "timeouts": 0.0, "payload_bytes_sent": 0.0, "skipped": number - 5}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("rounds", "code"), [((4, 5, 6), 0), ((4, 60), cli.SKIPPED), ((60,), cli.SKIPPED), ((), 0)])
def test_the_exit_code_tells_whether_the_end_was_skipped_to(
    rounds: tuple[float, ...],
    code: int,
    pair: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(session, "start", lambda *args, **kwargs: Ended(*rounds))
    monkeypatch.setattr(sys, "argv", ["edge-node", "--config", str(pair[0])])
    assert cli.main() == code
    assert capsys.readouterr().out.count("\n") == len(rounds)
    assert ("rounds were skipped" in caplog.text) == (code == cli.SKIPPED)


def test_fresh_begins_anew_and_keeps_what_was(pair: list[Path], tmp_path: Path) -> None:
    for path in pair:
        path.write_text(path.read_text().replace("rounds = 60", "rounds = 3"))
    assert [len(finish(process)) for process in [start(path) for path in pair]] == [3, 3]
    again = [finish(process) for process in [start(path, "--fresh") for path in pair]]
    assert [[row["round"] for row in rows] for rows in again] == [[1, 2, 3], [1, 2, 3]]
    assert len(list(tmp_path.glob("state-a*"))) == 2


def test_a_coordinator_is_a_node_of_the_same_file(tmp_path: Path, broker: str) -> None:
    """Dynamic averaging in three processes; the coordinator is killed, and goes on from its checkpoint."""
    export(zoo.build("mlp:16", shape=(1, 8, 8), classes=10), tmp_path / "bundle")
    paths = {}
    for me in ("a", "b"):
        paths[me] = tmp_path / f"{me}.toml"
        paths[me].write_text(
            f"""
            id = "{me}"
            fleet = "{tmp_path.name[-20:]}"
            broker = "{broker}"
            peers = ["a", "b"]
            bundle = "bundle"
            data = "digits"
            split = "classes:5"
            protocol = "dynamic-averaging"
            rounds = 40
            round_timeout = 12
            checkpoint = "state-{me}"
            [settings]
            threshold = 0.05
            """
        )
    shared = tmp_path / "centre.toml"
    shared.write_text(paths["a"].read_text().replace("state-a", "state-centre"))

    def coordinator() -> "subprocess.Popen[str]":
        command = [str(COMMAND), "--config", str(shared), "--role", "coordinator", "--json"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    centre, devices = coordinator(), [start(path) for path in paths.values()]
    assert centre.stdout is not None
    for _ in range(8):
        centre.stdout.readline()
    centre.kill()
    centre.communicate()
    kept = checkpoint_files.read(tmp_path / "state-centre")
    assert kept is not None
    rows = finish(coordinator())
    assert rows[0]["round"] == kept[0] + 1
    assert str(rows[-1]["id"]) == "coordinator"
    assert sum(row["balanced"] for row in rows) > 0
    for device in devices:
        mine = finish(device)
        assert mine[-1]["round"] == 40
        assert mine[-1]["accuracy_all"] > 0.6
