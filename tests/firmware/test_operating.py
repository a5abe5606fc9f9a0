"""What hostile devices can do to whoever operates a fleet: nothing to files, to memory, or to the terminal."""

import json
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from broker import probe, reports
from broker.fleet import Fleet
from broker.probe import ProbeClient
from edge.errors import ConfigError
from edge.messaging.chunked import split
from edge.storage import archive
from edge.transports import mqtt
from firmware_scripts import field, operating
from firmware_scripts.operating import Operator

HUGE = b'{"round": ' + b"9" * 401 + b"}"


class Client(ProbeClient):
    """A connection on which everything has arrived already."""

    def publish(self, topic: str, payload: bytes = b"x", retain: bool = False) -> str:
        return "Success"

    def until(self, condition: Callable[[], bool], seconds: float = 0) -> bool:
        return condition()


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    client = Client(mqtt.new_client("operator"), accepted=True)
    return Operator(Fleet(tmp_path / "orchard", "orchard", ("h",), 1, tmp_path), client)


def arrive(operator: Operator, sender: str, kind: str, payload: bytes) -> None:
    operator.client.messages.append((f"fleet/orchard/to/operator/from/{sender}/{kind}", payload))


def send_files(operator: Operator, sender: str, content: bytes) -> None:
    for part in split(content):
        arrive(operator, sender, "files", part)


FILES = archive.pack({"metrics.jsonl": b'{"round": 1}\n'}, compress=True)


def collect(operator: Operator, devices: list[str], target: Path, *more: tuple[str, bytes]) -> dict[str, int]:
    """Everything arrives once it has been asked for."""

    def publish(topic: str, payload: bytes = b"x", retain: bool = False) -> str:
        for sender, content in more:
            send_files(operator, sender, content)
        return "Success"

    operator.client.publish = publish  # type: ignore[method-assign]
    return operating.collect(operator, devices, target, 1)


@pytest.mark.parametrize("name", ["..", ".", ".ssh", "-rf", "b"])
def test_only_who_was_asked_is_read(name: str, operator: Operator, tmp_path: Path) -> None:
    """A name `..` in a topic would be the folder above."""
    target = tmp_path / "home" / "collected"
    target.mkdir(parents=True)
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    assert collect(operator, ["a"], target, (name, FILES), ("a", FILES)) == {"a": len(FILES)}
    assert [path.name for path in target.iterdir()] == ["a"]
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"


def test_nothing_is_removed_that_was_not_collected(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds thesis\.txt, which no device has sent"):
        collect(operator, ["a"], tmp_path, ("a", FILES))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is no folder"):
        collect(operator, ["b"], tmp_path, ("b", FILES))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["thesis.txt"]


def test_it_is_collected_again(operator: Operator, tmp_path: Path) -> None:
    both = archive.pack({"metrics.jsonl": b"old", "log.txt": b"old"}, compress=True)
    collect(operator, ["a"], tmp_path, ("a", both))
    collect(operator, ["a"], tmp_path, ("a", FILES))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["metrics.jsonl"]


def odd(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as content:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        content.addfile(entry)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"no archive", FILES[:-20], odd("../evil"), odd("/evil"), odd(".bashrc")),
        *(odd("log.txt", tarfile.SYMTYPE), odd("log.txt", tarfile.LNKTYPE), odd("log.txt", tarfile.CHRTYPE)),
        archive.pack({"log.txt": bytes(3_000_000)}, compress=True),
    ],
    ids=str.split("empty text cut-short parent root hidden symlink hardlink device bomb"),
)
def test_what_is_no_archive(
    content: bytes, operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one is a bomb."""
    monkeypatch.setattr(operating, "LARGEST", 1_000_000)
    with pytest.raises(ConfigError, match="a sent no archive of files"):
        collect(operator, ["a"], tmp_path / "out", ("a", content))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("payload", [HUGE, b'{"round": NaN}', b"[" * 60_000, b"\xff", b'{"round": "x"}'])
def test_no_telemetry_stops_the_operator(payload: bytes, operator: Operator) -> None:
    for channel in ("status", "telemetry"):
        operator.client.messages.append((f"fleet/orchard/{channel}/b", payload))
    arrive(operator, "b", "report", payload)
    operator.client.messages.append(("fleet/orchard/status/b", b"online"))
    rows = operating.inventory(operator, 1)
    assert rows == {"b": {"online": 1.0}}
    assert field.section("orchard", rows).rows


def test_texts_of_devices_are_shown_as_they_are(operator: Operator) -> None:
    report = {"outcome": "refused: \x1b]0;title\x07[red]x\n" + "y" * 9999, "bundle": 7, "board": "\x1b[2J"}
    arrive(operator, "b", "report", json.dumps(report).encode())
    operator.sort_messages()
    row = operator.reports["b"]
    assert row["outcome"] == ("refused: ]0;title[red]x" + "y" * 9999)[: len(str(row["outcome"]))]
    assert len(str(row["outcome"])) <= reports.LONGEST
    assert row["board"] == "[2J"
    assert "bundle" not in row


def test_what_was_looked_at_is_dropped_and_a_flood_is_bounded(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MAX_DEVICES", 10)
    for number in range(100):
        operator.client.messages.append((f"fleet/orchard/telemetry/d{number}", b'{"round": 1}'))
        arrive(operator, f"e{number}", "report", b"{}")
        send_files(operator, f"f{number}", FILES)
    operator.sort_messages()
    assert operator.client.messages == []
    assert len(operator.rows.keys() | operator.reports.keys()) == 10
    assert (operator.files, operator.parts) == ({}, {})


def test_what_nobody_takes_is_bounded(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MOST_BYTES", 1000)
    message = paho.MQTTMessage(topic=b"fleet/orchard/telemetry/a")
    message.payload = bytes(300)
    for _ in range(100):
        operator.client.arrive(message)
    assert len(operator.client.messages) == 3
    assert len(operator.client.take()) == 3
    operator.client.arrive(message)
    assert len(operator.client.messages) == 1
