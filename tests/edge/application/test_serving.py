"""What a node answers over HTTP, from its checkpoints while another process trains, and while it trains itself."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from edge import algorithm, cli
from edge import bundle as bundles
from edge.application import answering, http_server, samples, service
from edge.application.http_server import HttpAnswer, HttpRequest
from edge.installation import Installation
from edge.storage import checkpoint_files, metrics_log
from edge.storage.sample_store import SampleStore
from tests.edge.application.models import CLASSES, blobs, mlp
from tests.refusals import refusal
from tests.waiting import eventually

OBJECTIVE = " + ".join(algorithm.load("d-distillation", {}, "settings").objective)
SETTINGS = """
id = "a"
peers = ["a", "b"]
bundle = "bundle"
reference = "npz:reference.npz"
checkpoint = "state"
store = "ring:100"
round_timeout = 0.2
"""


def device(folder: Path) -> Installation:
    """A device with a bundle, that has not learnt anything."""
    mlp(folder / "bundle", OBJECTIVE)
    np.savez(folder / "reference.npz", x=blobs(20, seed=9)[0])
    (folder / "node.toml").write_text(SETTINGS)
    return Installation.read(folder / "node.toml", {})


@pytest.fixture
def node(tmp_path: Path) -> Installation:
    return device(tmp_path)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a node that has learnt, and in whose store nothing is in the end."""
    node = device(tmp_path_factory.mktemp("served"))
    learn(node, 1, 0.0)
    with serving(node) as (url, store):
        yield url
        assert not len(store)


@contextmanager
def serving(node: Installation) -> Iterator[tuple[str, SampleStore]]:
    store = samples.store(node)
    with service.served(node, answering.CheckpointModel(node), store, "127.0.0.1", 0) as url:
        yield url, store
    store.close()


def ask(url: str, content: Any = None, kind: str = http_server.JSON, **headers: str) -> tuple[int, Any]:
    """Status and answer; of content a JSON text is made, unless it is bytes."""
    data = content if content is None or isinstance(content, bytes) else json.dumps(content).encode()
    request = urllib.request.Request(url, data, {**({"Content-Type": kind} if data is not None else {}), **headers})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read().decode()
            return answer.status, json.loads(text) if "json" in answer.headers["Content-Type"] else text
    except urllib.error.HTTPError as reason:
        with reason:
            return reason.code, json.loads(reason.read())["error"]


def learn(node: Installation, number: int, value: float) -> None:
    """Write what a process that trains would: a checkpoint, and a row."""
    assert node.home is not None
    model = bundles.read(node.bundle)
    parameters = {name: np.full_like(array, value) for name, array in model.parameters().items()}
    checkpoint_files.write(node.home, number, {f"engine/parameter/{k}": v for k, v in parameters.items()})
    metrics_log.append(node.home, {"round": number, "loss": 0.5, "loss/cross_entropy": 0.25})


def test_it_predicts_with_the_newest_whole_checkpoint(node: Installation) -> None:
    x, _ = blobs(5)
    with serving(node) as (url, _store):
        status, text = ask(f"{url}/predict", {"x": x.tolist()})
        assert (status, "has no checkpoint that can be read" in text) == (503, True)
        assert ask(f"{url}/healthz") == (503, "a has not finished a round yet")
        learn(node, 1, 0.0)
        status, answer = ask(f"{url}/predict", {"x": x.tolist()})
        assert status == 200
        assert [p["outputs"] for p in answer["predictions"]] == [[pytest.approx(1 / 3)] * 3] * 5
        assert {p["class"] for p in answer["predictions"]} <= {*CLASSES}
        assert ask(f"{url}/healthz") == (200, {"id": "a", "round": 1})
        bundle = bundles.read(node.bundle)
        assert node.home is not None
        start = {f"engine/parameter/{k}": v for k, v in bundle.parameters().items()}
        checkpoint_files.write(node.home, 2, start)
        changed = ask(f"{url}/predict", {"x": x.tolist()})[1]
        assert changed != answer
        (node.home / "round-00000003.safetensors").write_bytes(b"torn")
        assert ask(f"{url}/predict", x.astype("<f4").tobytes(), http_server.RAW)[1] == changed
        status, one = ask(f"{url}/predict", {"x": x[0].tolist()})
        assert one["predictions"][0]["outputs"] == pytest.approx(changed["predictions"][0]["outputs"], abs=1e-6)


def test_observed_samples_are_in_the_store_of_the_process_that_trains(node: Installation) -> None:
    x, y = blobs(4)
    with serving(node) as (url, _):
        trains = samples.store(node)
        before = trains.version
        labels = [CLASSES[k] for k in y]
        assert ask(f"{url}/observe", {"x": x.tolist(), "y": labels, "id": ["p", "q", "r", "s"]}) == (
            200,
            {"numbers": [1, 2, 3, 4]},
        )
        assert ask(f"{url}/observe", {"x": x[3].tolist(), "id": "s"}) == (200, {"numbers": [4]})  # sent again
        assert trains.version > before
        assert trains.arrays()[1].tolist() == y.tolist()
        assert ask(f"{url}/observe", x[:1].astype("<f4").tobytes(), http_server.RAW) == (200, {"numbers": [5]})
        assert len(trains.unlabelled()) == 1
        assert ask(f"{url}/label", {"number": 5, "y": "up"}) == (200, {"labelled": 1})
        assert ask(f"{url}/observe", {"x": x[0].tolist(), "id": 77}) == (200, {"numbers": [6]})
        assert ask(f"{url}/label", {"id": "77", "y": 0}) == (200, {"labelled": 1})
        assert trains.arrays()[1].tolist() == [*y.tolist(), 2, 0]
        trains.close()


@pytest.mark.parametrize(
    ("path", "content", "status", "reason"),
    [
        ("/predict", b"{", 400, "expected JSON"),
        ("/predict", b"[" * 100_000, 400, "expected JSON"),
        ("/predict", {"x": [1, 2, 3]}, 400, "takes [n, 4] or one sample"),
        ("/predict", {"x": [[1, 2, 3, 4], [1]]}, 400, "expected numbers of one shape"),
        ("/predict", b'{"x": [1, 2, 3, NaN]}', 400, "NaN or infinite"),
        ("/predict", {"x": ["a", "b", "c", "d"]}, 400, "expected numbers"),
        ("/predict", {"x": [[0.0] * 4] * 1001}, 400, "at most 1000 samples"),
        ("/predict", {"z": 1}, 400, "unknown key 'z'"),
        ("/predict", {"y": 1}, 400, 'expected {"x"'),
        ("/predict", b"x" * (http_server.LARGEST + 1), 413, "at most 1000000 bytes"),
        ("/observe", {"x": [[0.0] * 4] * 2, "y": ["up", "wrong"]}, 400, "row 1 has the label 'wrong'"),
        ("/observe", {"x": [[0.0] * 4] * 2, "y": [1]}, 400, "y: expected [2]"),
        ("/observe", {"x": [[0.0] * 4] * 2, "id": ["a"]}, 400, "id: expected 2 texts"),
        ("/observe", {"id": "a", "y": 1}, 400, "goes to /label"),
        ("/label", {"number": 9, "y": 1}, 400, "there is no sample 9"),
        ("/label", {"id": "never", "y": 1}, 400, "no sample 'never' is kept"),
        ("/label", {"id": "never"}, 400, 'expected {"number"'),
        ("/label", b"[]", 400, "expected a JSON object"),
        ("/nothing", {}, 404, "no POST /nothing is here; there are: GET /healthz"),
    ],
)
def test_bad_requests_are_refused(served: str, path: str, content: Any, status: int, reason: str) -> None:
    answer = ask(served + path, content)
    assert (answer[0], reason in answer[1]) == (status, True), answer


def test_other_peoples_pages_reach_nothing(node: Installation) -> None:
    with serving(node) as (url, store):
        sample = {"x": [0.0] * 4}
        assert ask(f"{url}/observe", sample, "text/plain")[0] == 415
        assert ask(f"{url}/observe", sample, Host="evil.example")[0] == 421
        assert ask(f"{url}/metrics", Host="evil.example:80")[0] == 421
        assert ask(f"{url}/healthz", Host="localhost:1")[0] == 503
        assert not len(store)


def test_metrics_have_the_names_of_the_monitor(node: Installation) -> None:
    with serving(node) as (url, _):
        learn(node, 7, 0.0)
        ask(f"{url}/predict", {"x": [[0.0] * 4] * 3})
        ask(f"{url}/predict", {"x": 1})
        status, text = ask(f"{url}/metrics")
        values = {
            (sample.name, sample.labels.get("path"), sample.labels.get("result")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.labels["fleet"] == "murmur" and sample.labels["device"] == "a"
        }
    assert status == 200
    assert values["murmur_round", None, None] == 7
    assert values["murmur_loss_cross_entropy", None, None] == 0.25
    assert values["murmur_predictions_total", None, None] == 3
    assert values["murmur_requests_total", "/predict", "refused"] == 1
    assert values["murmur_samples", None, None] == 0


def test_connections_are_bounded_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that say nothing, or half of a request, make others wait no longer than they are given."""

    def connections() -> int:
        return sum("process_request_thread" in thread.name for thread in threading.enumerate())

    eventually(lambda: connections() == 0)
    with http_server.serving(lambda request: HttpAnswer.of({"path": request.path}), "127.0.0.1", 0) as port:
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(http_server.CONNECTIONS)]
        for half in idle[::2]:
            half.sendall(
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
            )
        eventually(lambda: connections() == http_server.CONNECTIONS)
        with socket.create_connection(("127.0.0.1", port)) as one_more:
            assert b"".join(iter(lambda: one_more.recv(1000), b"")) == http_server.BUSY
        monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.0)
        for connection in idle:
            assert connection.recv(10) == b""
            connection.close()
        monkeypatch.setattr(http_server, "REQUEST_SECONDS", 10.0)
        eventually(lambda: connections() == 0)
        assert ask(f"http://127.0.0.1:{port}/x") == (200, {"path": "/x"})


def test_what_is_no_http_and_what_fails_is_answered() -> None:
    def fail(request: HttpRequest) -> HttpAnswer:
        raise ZeroDivisionError(request.path)

    with http_server.serving(fail, "127.0.0.1", 0) as port:
        assert ask(f"http://127.0.0.1:{port}/")[0] == 500
        for line, status in (
            (b"nonsense", b"400"),
            (b"BREW /pot HTTP/1.1", b"501"),
            (b"GET /" + b"x" * 70_000, b"414"),
        ):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(line + b"\r\n\r\n")
                assert connection.recv(100).split()[1] == status
        client = http.client.HTTPConnection("127.0.0.1", port)
        client.putrequest("POST", "/")
        client.putheader("Content-Type", http_server.JSON)
        client.endheaders()
        assert client.getresponse().status == 411
        client.close()


def test_the_command_serves_beside_the_one_that_trains(node: Installation, tmp_path: Path) -> None:
    """One process trains, and answers itself, too; another answers from the checkpoints."""
    from broker import embedded

    x, y = blobs(30)
    store = samples.store(node)
    store.add(x, y)
    store.close()
    with embedded.running() as broker:
        words = ["--config", str(node.path), "--broker", broker.url, "--json", "--listen", "127.0.0.1:0"]
        commands = [["run", "--rounds", "0", "--streams", "jsonl:log.jsonl"], ["serve"]]
        processes = [
            subprocess.Popen([sys.executable, "-m", "edge.cli", *what, *words], stdout=subprocess.PIPE, text=True)
            for what in commands
        ]
        try:
            urls = []
            for process in processes:
                assert process.stdout is not None
                urls.append(json.loads(process.stdout.readline())["url"])
            for url in urls:
                eventually(lambda url=url: ask(f"{url}/healthz")[0] == 200)  # type: ignore[misc]
                status, answer = ask(f"{url}/predict", {"x": x.tolist()})
                assert (status, len(answer["predictions"])) == (200, 30)
            (tmp_path / "log.jsonl").write_text(json.dumps({"x": x[:3].tolist(), "y": y[:3].tolist()}) + "\n")
            eventually(lambda: "murmur_samples{" in (text := ask(f"{urls[1]}/metrics")[1]) and "} 33.0" in text)
            round_before = ask(f"{urls[0]}/healthz")[1]["round"]
            assert ask(f"{urls[1]}/observe", {"x": x[:2].tolist(), "y": y[:2].tolist()}) == (200, {"numbers": [34, 35]})
            eventually(lambda: ask(f"{urls[1]}/healthz")[1]["round"] > round_before)
        finally:
            for process in processes:
                process.send_signal(signal.SIGINT)
            for process in processes:
                process.communicate(timeout=20)
        assert processes[1].returncode == 0


def test_what_cannot_be_is_refused(
    node: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", node.path]
    for words, reason in (
        (["serve", "--listen", "8080"], "--listen 8080: expected HOST:PORT"),
        (["serve", "--listen", "192.0.2.1:80"], "--listen 192.0.2.1:80: "),
        (["tune", "--listen", "127.0.0.1:80"], "tune answers nobody"),
        (["run", "--streams", "stdin", "--store", "heap:1"], "store 'heap:1': expected ring"),
        (["run", "--streams", "xml:a", "--broker", "mqtt://127.0.0.1:9"], "unknown stream 'xml'"),
        (["serve", "--role", "server", "--protocol", "fedavg", "--rounds", "3"], "a server has no samples of its own"),
    ):
        assert reason in refusal(cli.main, "edge-node", [*words, *config], monkeypatch, capsys)
