"""The monitor: what devices report, as Prometheus reads it; and what Home Assistant reads."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from broker import embedded, monitor, probe, reports
from edge.errors import ConfigError, TransportError
from edge.messaging import topics
from edge.operations import home_assistant
from edge.transports import mqtt
from tests.waiting import eventually


def scraped(url: str) -> dict[tuple[str, str], float]:
    """(metric, device) -> value."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, sample.labels.get("device", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_fleet_as_prometheus_reads_it() -> None:
    with embedded.running() as broker:
        device = mqtt.create(url=broker.url, fleet="f", me="a")
        command = Path(sys.executable).parent / "edge-broker"
        words = ["monitor", "--broker", broker.url, "--fleet", "f", "--listen", "127.0.0.1:0", "--json"]
        process = subprocess.Popen([command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        eventually(lambda: scraped(url).get(("murmur_online", "a")) == 1)
        row = {"round": 3.0, "loss/cross_entropy": 0.25, "loss": float("nan")}

        def reported() -> bool:
            device.report(row)
            return ("murmur_round", "a") in scraped(url)

        eventually(reported)
        values = scraped(url)
        assert values["murmur_round", "a"] == 3
        assert values["murmur_loss_cross_entropy", "a"] == 0.25
        assert values["murmur_last_seen_timestamp_seconds", "a"] > 1e9
        device.close()
        eventually(lambda: scraped(url)["murmur_online", "a"] == 0)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")


@given(st.text(max_size=60), st.binary(max_size=200))
def test_anything_may_arrive(topic: str, payload: bytes) -> None:
    fleet = monitor.FleetCollector("f")
    for where in (topic, f"fleet/f/status/{topic}", f"fleet/f/telemetry/{topic}"):
        fleet.take(where, payload, 0.0)
    list(fleet.collect())


@pytest.mark.parametrize(
    "payload", [b"[1]", b'{"a": "b"}', b'{"a": {"b": 1}}', b'{"a b": 1}', b"[" * 60_000, bytes(70_000)]
)
def test_what_is_no_telemetry_is_counted(payload: bytes) -> None:
    fleet = monitor.FleetCollector("f")
    fleet.take("fleet/f/telemetry/a", payload, 0.0)
    assert (fleet.refused, fleet.rows) == (1, {})


def test_a_flood_of_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "MAX_DEVICES", 10)
    fleet = monitor.FleetCollector("f")
    for i in range(50):
        fleet.take(f"fleet/f/telemetry/d{i}", b'{"round": 1}', 0.0)
    assert len(fleet.rows) == 10
    fleet.take("fleet/f/telemetry/d3", b'{"round": 2}', 0.0)
    assert fleet.rows["d3"] == {"round": 2}


def test_names_of_the_release_before_are_read_as_those_of_today() -> None:
    report = reports.read("fleet/f/telemetry/a", b'{"round": 2, "missed": 1, "waited": 3, "refused_baseless": 4}')
    assert report is not None
    assert report.row == {"round": 2.0, "timeouts": 1.0, "wait_seconds": 3.0, "refused_missing_base": 4.0}


@pytest.mark.parametrize(
    ("url", "error", "complaint"),
    [
        ("http://x", ConfigError, "must be mqtt://HOST"),
        ("mqtt://127.0.0.1:1", TransportError, "no MQTT broker answers"),
    ],
)
def test_brokers_that_cannot_be(url: str, error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint), monitor.watching(url, "f", None, "127.0.0.1", 0):
        pass


def test_home_assistant_is_told_where_to_look() -> None:
    """By the letter of its MQTT discovery: one retained configuration a sensor, availability from the status."""
    sensors = {topic: json.loads(payload) for topic, payload in home_assistant.discovery("f", "a").items()}
    assert set(sensors) == {f"homeassistant/sensor/f-a/{key}/config" for key in home_assistant.SENSORS}
    for about in sensors.values():
        assert about["state_topic"] == topics.telemetry("f", "a")
        assert (about["availability_topic"], about["payload_available"]) == (topics.status("f", "a"), "online")
        assert about["device"]["identifiers"] == ["murmur_f-a"]
    assert len({about["unique_id"] for about in sensors.values()}) == len(sensors)
    template = sensors["homeassistant/sensor/f-a/accuracy_all/config"]["value_template"]
    assert template == "{{ (value_json.accuracy_all * 100) if value_json.accuracy_all is defined else this.state }}"


def test_it_is_there_for_whoever_comes_later() -> None:
    with embedded.running() as broker:
        device = mqtt.create(url=broker.url, fleet="f", me="a")
        device.retain(home_assistant.discovery("f", "a"))
        device.close()
        with probe.connect("127.0.0.1", broker.port, None, "assistant") as reader:
            reader.subscribe("homeassistant/#")
            assert reader.until(lambda: len(reader.messages) == len(home_assistant.SENSORS))
