"""Streams into the store: what comes is there once, whatever happens in between."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho  # noqa: TID251 - a sensor
import pytest
from paho.mqtt.enums import CallbackAPIVersion  # noqa: TID251
from PIL import Image

from broker import embedded
from broker.process import free_port
from edge import streams
from edge.application import intake
from edge.application.intake import Intake
from edge.bundle import Bundle
from edge.errors import ConfigError
from edge.storage.sample_store import SampleStore
from export import zoo
from export.write import export
from tests.edge.application.models import mlp
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(intake, "RETRY_SECONDS", (0.01, 0.02))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Of samples of 4 numbers, and the classes CLASSES."""
    return mlp(tmp_path_factory.mktemp("bundle") / "bundle")


@contextmanager
def reading(setting: str, folder: Path, bundle: Bundle) -> Iterator[SampleStore]:
    store = SampleStore(folder / "state", "ring:1000", bundle.manifest.shape)
    stream = Intake(setting, folder, bundle, store)
    stream.start()
    try:
        yield store
    finally:
        stream.close()
        store.close()


def labels(store: SampleStore) -> list[int]:
    kept: list[int] = store.arrays()[1].tolist()
    return kept


def row(first: float, label: object) -> str:
    return f"{first},0,0,0,{label}\n"


def test_a_table_that_grows(tmp_path: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    path, setting = tmp_path / "log.csv", "csv:log.csv?label=kind&without=at"
    with reading(setting, tmp_path, bundle) as store:
        eventually(lambda: "No such file" in caplog.text)
        path.write_text("a,b,c,d,kind,at\n1,0,0,0,left,9\n2,0,0,0,")
        eventually(lambda: labels(store) == [0])
        with path.open("a") as file:
            file.write("up,9\n3,0,0,0,,9\n4,0,0,x,up,9\n5,0,0,0,down,9\n6,0\n7,0,0,0,1,9\n")
        eventually(lambda: labels(store) == [0, 2, 1])
        assert store.unlabelled()[:, 0].tolist() == [3]
    with path.open("a") as file:
        file.write("8,0,0,0,right,9\n")
    with reading(setting, tmp_path, bundle) as store:  # it goes on where it was, with a header of before
        eventually(lambda: labels(store) == [0, 2, 1, 1])
        path.write_text("d,c,b,a,kind,at\n0,0,0,9,left,9\n")
        eventually(lambda: store.arrays()[0][-1].tolist() == [0, 0, 0, 9])
        assert labels(store) == [0, 2, 1, 1, 0]
    assert caplog.text.count("No such file") == 1
    assert "is there again" in caplog.text
    assert "was cut short or replaced: it is read from its beginning" in caplog.text
    assert "left out, 1 so far: a row holds what is no number" in caplog.text
    assert "left out, 2 so far: y: row 0 has the label 'down'" in caplog.text


def test_lines_of_json_and_labels_that_come_later(
    tmp_path: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "log.jsonl"
    lines = [
        {"x": [[1, 0, 0, 0], [2, 0, 0, 0]], "y": [0, 1]},
        {"x": [3, 0, 0, 0], "id": "w3"},
        {"x": [[4, 0, 0, 0], [5, 0, 0, 0]], "y": [0, 7]},  # one of them fits
        {"x": [6, 0, 0]},
        {"x": [3, 0, 0, 0], "id": "w3"},  # again
        {"id": ["w3", "w9"], "y": ["up", "up"]},
        {"id": ["w3", "w9"], "y": ["up"]},
        [7, 0, 0, 0],
    ]
    path.write_text("\n".join([*map(json.dumps, lines), "{", "", "[8, 0, 0, 0]\n"]))
    for _ in range(2):
        with reading("jsonl:log.jsonl", tmp_path, bundle) as store:
            eventually(lambda: len(store.unlabelled()) == 2)
            assert labels(store) == [0, 1, 2, 0]
            assert store.arrays()[0][:, 0].tolist() == [1, 2, 3, 4]
            assert store.unlabelled()[:, 0].tolist() == [7, 8]
    assert "left out, 4 so far: expected as many ids as labels" in caplog.text
    path.write_bytes(b"x" * 100)
    with reading("jsonl:log.jsonl", tmp_path, bundle) as store:
        eventually(lambda: "was cut short" in caplog.text)
        with path.open("ab") as file:
            file.write(b"x" * 100_000 + b"\n[9, 0, 0, 0]\n")
        eventually(lambda: len(store.unlabelled()) == 3)


def test_a_folder_that_fills(tmp_path: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    folder, setting = tmp_path / "inbox", "folder:inbox?label=kind"
    (folder / "deeper").mkdir(parents=True)
    np.savez(folder / "1.npz", x=np.eye(4)[:2], y=["left", "up"])
    np.savez(folder / "2.npz", x=np.eye(4)[:1])
    (folder / "3.npz").write_bytes(b"torn")
    (folder / "deeper" / "4.csv").write_text("a,b,c,d,kind\n" + row(4, "right"))
    (folder / "5.csv").write_text("a,b,c,d\n5,0,0,0\n")
    (folder / ".6.csv").write_text("a,b,c,d\n6,0,0,0\n")
    (folder / "7.csv.part").write_text("a,b,c,d\n7,0,0,0\n")
    for _ in range(2):
        with reading(setting, tmp_path, bundle) as store:
            eventually(lambda: (sorted(labels(store)), len(store)) == ([0, 1, 2], 5))
    with reading(setting, tmp_path, bundle) as store:
        (folder / "7.csv.part").rename(folder / "7.csv")
        np.savez(folder / "3.npz", x=np.eye(4), y=[1, 1, 1, 1])  # whole at last
        eventually(lambda: len(store) == 10)
    assert caplog.text.count("3.npz cannot be read") == 1


def test_images_by_class(tmp_path: Path) -> None:
    bundle = export(zoo.build("mlp:4", shape=(1, 2, 2), classes=2), tmp_path / "bundle", class_names=("cat", "dog"))
    for name, grey in (("cat/1.png", 0), ("dog/2.png", 255), ("3.png", 51)):
        path = tmp_path / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (3, 3), grey).save(path)
    with reading("folder:inbox?size=2x2&color=grey", tmp_path, bundle) as store:
        eventually(lambda: len(store) == 3)
        assert sorted(zip(labels(store), store.arrays()[0][:, 0, 0, 0].tolist(), strict=True)) == [(0, 0), (1, 1)]
        assert store.unlabelled()[0, 0, 0, 0] == pytest.approx(0.2)


def numbers(position: str) -> Iterator[Any]:
    """Samples from where they were, and a fault on the way."""
    for i in range(int(position or 0), 6):
        yield None
        if i == 3 and "broken" not in numbers.__dict__:
            numbers.__dict__["broken"] = True
            raise RuntimeError("the sensor is loose")
        yield np.full(4, i), i % 3, i + 1


def endless() -> Iterator[Any]:
    yield [1, 0, 0, 0], None
    yield 5


def test_a_function(tmp_path: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    numbers.__dict__.clear()
    with reading(f"python:{__name__}:numbers", tmp_path, bundle) as store:
        eventually(lambda: "has ended" in caplog.text)
        assert store.arrays()[0][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
        assert labels(store) == [0, 1, 2, 0, 1, 2]
    assert "failed: RuntimeError: the sensor is loose; it is tried again" in caplog.text
    with reading(f"python:{__name__}:endless", tmp_path, bundle):
        eventually(lambda: "must yield (x, y), (x, y, position) or None; it yielded int" in caplog.text)


def test_standard_input(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read, write = os.pipe()
    with os.fdopen(read) as stdin, os.fdopen(write, "wb", buffering=0) as pipe:
        monkeypatch.setattr(sys, "stdin", stdin)
        with reading("stdin", tmp_path, bundle) as store:
            pipe.write(b'{"x": [1, 0, 0, 0], "y": "up"}\n{"x": [2, 0')
            eventually(lambda: labels(store) == [2])
            pipe.write(b', 0, 0], "y": 0}\nnonsense\n[3, 0, 0, 0]')
            pipe.close()
            eventually(lambda: "stdin has ended" in caplog.text)
            assert labels(store) == [2, 0]
            assert store.unlabelled()[:, 0].tolist() == [3]
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setattr(sys, "stdin", file)
        with pytest.raises(ConfigError, match="standard input is a file; name it, as in jsonl:PATH"):
            streams.parse("stdin")[0].open("", {}, (4,))


def publisher(port: int) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="sensor")
    client.connect("127.0.0.1", port)
    client.loop_start()
    return client


def test_messages_of_sensors(tmp_path: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port(None)
    setting = f"mqtt:sensors/+/window?broker=mqtt://127.0.0.1:{port}"
    raw = f"mqtt:raw?broker=mqtt://127.0.0.1:{port}&format=float32"
    with reading(setting, tmp_path, bundle) as store:
        eventually(lambda: "Connection refused" in caplog.text)
        with embedded.running(port=port), reading(raw, tmp_path, bundle):
            sensor = publisher(port)
            eventually(lambda: "is there again" in caplog.text)

            def arrives(content: str | bytes, count: int, topic: str = "sensors/a/window") -> None:
                def sent() -> bool:  # until the subscription is there
                    sensor.publish(topic, content, qos=1).wait_for_publish(5)
                    return len(store) >= count

                eventually(sent)

            arrives('{"x": [1, 0, 0, 0], "y": "up", "id": 1}', 1)
            arrives(np.full(4, 2, "<f4").tobytes(), 2, "raw")
            for i in range(50):
                sensor.publish("sensors/b/window", json.dumps({"x": [i, 0, 0, 0], "y": 0, "id": f"b{i}"}), qos=1)
            sensor.publish("sensors/b/window", "nonsense", qos=1)
            eventually(lambda: labels(store) == [2] + [0] * 50)
            eventually(lambda: "expected JSON" in caplog.text)
            sensor.disconnect()
            sensor.loop_stop()
        eventually(lambda: "has ended the connection" in caplog.text)


class Message:
    """As paho hands it over."""

    def __init__(self, mid: int, first: float, dup: bool) -> None:
        self.mid, self.qos, self.dup = mid, 1, dup
        self.payload = json.dumps({"x": [first, 0, 0, 0], "y": 1}).encode()


def test_a_message_that_is_sent_again_is_kept_once(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash came after it was kept, before it was acknowledged."""
    from edge.streams import mqtt

    sent = [
        [Message(1, 1, False), Message(2, 2, False)],
        [Message(2, 2, True), Message(3, 3, True), Message(2, 2, False)],
    ]
    acknowledged: list[int] = []

    class Subscription:
        def __init__(self, *_: object) -> None:
            self.messages, self.client = sent.pop(0), self

        def next(self) -> Message | None:
            return self.messages.pop(0) if self.messages else None

        def ack(self, mid: int, _: int) -> None:
            acknowledged.append(mid)

        def close(self) -> None:
            pass

    monkeypatch.setattr(mqtt, "_Subscription", Subscription)
    for expected in ([1, 2], [1, 2, 3, 2]):
        with reading("mqtt:windows", tmp_path, bundle) as store:
            eventually(lambda expected=expected: store.arrays()[0][:, 0].tolist() == expected)  # type: ignore[misc]
    eventually(lambda: acknowledged == [1, 2, 2, 3, 2])


def test_a_full_disk_loses_nothing(tmp_path: Path, bundle: Bundle, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "log.jsonl").write_text("".join(f'{{"x": [{i}, 0, 0, 0], "y": 0}}\n' for i in range(300)))
    store = SampleStore(tmp_path / "state", "ring:1000", (4,))
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count={pages}")
    stream = Intake("jsonl:log.jsonl", tmp_path, bundle, store)
    stream.start()
    eventually(lambda: "make room" in caplog.text)
    store._connection.execute("PRAGMA max_page_count=100000")
    eventually(lambda: len(store) == 300)
    stream.close()
    assert store.arrays()[0][:, 0].tolist() == list(range(300))
    store.close()


def test_after_sigkill_nothing_is_lost_or_kept_twice(tmp_path: Path, bundle: Bundle) -> None:
    code = (
        "import sys; from pathlib import Path; from edge import bundle\n"
        "from edge.application.intake import Intake; from edge.storage.sample_store import SampleStore\n"
        "store = SampleStore(Path('state'), 'ring:1000', (4,))\n"
        "stream = Intake('csv:log.csv', Path('.'), bundle.read(Path(sys.argv[1])), store); stream.start()\n"
        "while len(store) < int(sys.argv[2]): pass\n"
        "print('there', flush=True); stream._thread.join()\n"
    )
    path = tmp_path / "log.csv"
    path.write_text("a,b,c,d,label\n" + "".join(row(i, i % 3) for i in range(600)))
    for count in (100, 600):
        command = [sys.executable, "-c", code, str(bundle.path), str(count)]
        with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            process.send_signal(signal.SIGKILL)
    store = SampleStore(tmp_path / "state", "ring:1000", (4,))
    assert store.arrays()[0][:, 0].tolist() == list(range(600))
    store.close()


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("xml:a", "unknown stream 'xml'; there are: csv, folder, jsonl"),
        ("csv:", "a path is missing"),
        ("csv:a?labels=b", "no option 'labels=b'"),
        ("csv:a?separator=ab", "expected one character"),
        ("stdin:x", "expected stdin alone"),
        ("mqtt:a?format=xml", "expected json or float32"),
        ("mqtt:a?broker=http://x", "must be mqtt://"),
        ("mqtt:a?broker=mqtts://x", "is not supported"),
        ("python:nowhere:f", "No module named 'nowhere'"),
        ("python:math:pi", "is float, expected a function"),
        ("folder:x?size=3", "expected HxW"),
    ],
)
def test_what_cannot_be_is_refused(setting: str, reason: str, tmp_path: Path, bundle: Bundle) -> None:
    store = SampleStore(tmp_path, "ring:10", (4,))
    with pytest.raises(ConfigError, match=reason.replace("(", r"\(")):
        Intake(setting, tmp_path, bundle, store)
    store.close()
