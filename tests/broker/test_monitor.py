"""The monitor: what devices report, as Prometheus reads it; and what Home Assistant reads."""

import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from broker import embedded, monitor, probe, reports, subscriber
from broker.dashboard.state import FleetState
from broker.subscriber import subscribed
from edge import node
from edge.errors import ConfigError, TransportError
from edge.messaging import topics
from edge.messaging.inbox import CAUSES
from edge.operations import home_assistant
from edge.operations.prometheus import GAUGES
from edge.transports import mqtt
from edge_sim.run import Frame, run
from edge_sim.scenario import Scenario
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


HUGE = b'{"round": ' + b"9" * 401 + b', "loss": 1}'


@pytest.mark.parametrize(
    ("payload", "row"),
    [
        (HUGE, {"loss": 1.0}),
        (b'{"round": NaN, "loss": 1}', {"loss": 1.0}),
        (b'{"round": 1e999, "loss": -1e17}', {"loss": -1e17}),
        (b'{"loss": 1, "sent_to/b": 2, "sent_to/..": 3, "loss/squared_error(reference)": 4, "made/up": 5}', None),
    ],
)
def test_rows_have_known_keys_and_finite_numbers(payload: bytes, row: dict[str, float] | None) -> None:
    report = reports.read("fleet/f/telemetry/a", payload)
    assert report is not None
    assert report.row == (row or {"loss": 1.0, "sent_to/b": 2.0, "loss/squared_error(reference)": 4.0})
    collector = monitor.FleetCollector("f")
    collector.take("fleet/f/telemetry/a", payload, 1.0)
    state = FleetState("f", lambda: 1.0)
    state.take("fleet/f/telemetry/a", payload, 1.0)
    json.dumps(state.snapshot(), allow_nan=False)
    assert b"nan" not in generate_latest(registered(collector)).lower()


def registered(collector: monitor.FleetCollector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def test_names_for_prometheus_are_a_fixed_set_with_one_help_each() -> None:
    """As `promtool check metrics` wants them: whatever devices send, no name is theirs, and none appears twice."""
    collector = monitor.FleetCollector("f")
    rows = [
        dict.fromkeys([*GAUGES, "sent_to/a.b", "sent_to/a-b"], 1),
        {"loss/a": 1, "loss/a_b": 1, "refused_x": 1, "online": 1, "round": 2, "sent_to/a_b": 3, "monitor_refused": 1},
    ]
    for number, row in enumerate(rows):
        collector.take(f"fleet/f/telemetry/d{number}", json.dumps(row).encode(), 1.0)
    text = generate_latest(registered(collector)).decode()
    fixed = {name for name, _, _ in GAUGES.values()} | {
        *("murmur_online", "murmur_last_seen_timestamp_seconds", "murmur_sent_to_bytes", "murmur_monitor_refused")
    }
    assert len({name for name, _, _ in GAUGES.values()}) == len(GAUGES)
    for word in ("HELP", "TYPE"):
        named = [line.split()[2] for line in text.splitlines() if line.startswith(f"# {word} ")]
        assert sorted(named) == sorted(fixed)
    for line in text.splitlines():
        if line.startswith("# HELP"):
            assert len(line.split()) > 4  # a sentence
    samples = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) == len(set(samples))
    assert not {"mb", "kb", "gb", "ms", "s", "c"} & {word for name in fixed for word in name.split("_")}  # base units
    assert any(line.startswith("murmur_memory_bytes{") and line.endswith(" 1e+06") for line in text.splitlines())
    assert all(re.fullmatch(r"[a-z_]+(\{[^}]*\})?", sample) for sample in samples)


@pytest.mark.parametrize("protocol", ["d-distillation", "periodic-averaging", "dynamic-averaging"])
def test_all_that_devices_report_is_known(protocol: str) -> None:
    """No key of a real row is dropped."""
    keys: set[str] = set()

    def watch(frame: Frame) -> None:
        for device in frame.devices:
            keys.update(device.row, node.telemetry(device.traffic, dict.fromkeys(CAUSES, 1)))

    run(Scenario(devices=3, protocol=protocol, data="digits", model="zoo:mlp:4", rounds=1, reference="30"), watch)
    assert keys
    assert {
        key for key in keys if reports.read("fleet/f/telemetry/a", json.dumps({key: 1.0}).encode()) is None
    } == set()


def test_a_listener_that_dies_ends_the_process() -> None:
    """Instead of showing for ever what was true then."""
    with embedded.running() as broker:
        device = mqtt.create(url=broker.url, fleet="f", me="a")

        def broken(*_: object) -> None:
            raise OverflowError("int too large to convert to float")

        with (
            pytest.raises(TransportError, match=r"nothing is received .* any more: OverflowError"),
            subscribed(broker.url, "f", None, broken) as listener,
        ):
            listener.wait(threading.Event(), 0.01)
        device.close()


def test_two_watchers_do_not_throw_each_other_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Monitor and dashboard at one broker: each is a client with a name of its own."""
    names: list[str] = []

    def noted(identifier: str, **_more: object) -> None:
        names.append(identifier)
        raise TransportError("enough")

    monkeypatch.setattr(subscriber, "new_client", noted)
    for _ in range(2):
        with pytest.raises(TransportError, match="enough"), subscribed("mqtt://127.0.0.1:1", "f", None, print):
            pass
    assert len(set(names)) == 2
    assert all(name.startswith("f-monitor-") for name in names)
