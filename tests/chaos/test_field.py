"""What happens in the field, done to real processes over a real Mosquitto: nothing stops, nothing is lost."""

import random
import resource
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge import data
from edge.codec import CHUNK, HEADER, encode, request
from edge.interfaces import Message
from export import zoo
from export.write import export
from tests.chaos import LONG
from tests.chaos.field import CONFIGURATION, NAMES, Field, Node, field_of
from tests.chaos.proxy import Weather, proxy
from tests.waiting import eventually

LEARNT = 0.8
"""accuracy on all ten classes; alone, four classes are at most about 0.4"""


def all_finish(field: Field, rounds: int, *, accuracy: float = LEARNT) -> None:
    """Everybody reaches the last round, having learnt from the others."""
    for node in field.nodes.values():
        node.finish(1500 if LONG else 240)
        assert node.round == rounds
        numbers = [row["round"] for row in node.rows]
        assert numbers == sorted(numbers)
        assert node.rows[-1]["accuracy_all"] > accuracy, (node.name, node.rows[-1])


def reached(node: Node, number: int) -> Callable[[], bool]:
    return lambda: node.round >= number


def timeouts(node: Node) -> float:
    return float(sum(row["timeouts"] for row in node.rows))


def test_the_broker_is_killed_and_comes_back(tmp_path: Path) -> None:
    rounds, times = (200, 8) if LONG else (60, 2)
    with field_of(tmp_path, rounds=rounds) as field:
        for node in field.nodes.values():
            node.start()
        for i in range(1, times + 1):
            eventually(reached(field.nodes["a"], i * rounds // (times + 2)), 120)
            field.kill_broker()
            field.start_broker()
        all_finish(field, rounds)
        assert max(timeouts(node) for node in field.nodes.values()) <= 2 * times  # it learns on within a round or two


def test_devices_are_killed_and_come_back(tmp_path: Path) -> None:
    rounds, times = (300, 30) if LONG else (60, 4)
    chance = random.Random(1)
    with field_of(tmp_path, rounds=rounds) as field:
        for node in field.nodes.values():
            node.start()
        for i in range(1, times + 1):
            node = field.nodes[chance.choice(NAMES)]
            eventually(reached(node, i * rounds // (times + 2)), 120)
            node.kill()
            node.start()
        all_finish(field, rounds)
        assert sum(timeouts(node) for node in field.nodes.values()) == 0  # the messages they had sent survived


@pytest.mark.parametrize(
    ("name", "weather", "rounds", "accuracy"),
    [
        ("loses, repeats and swaps", Weather(loss=0.3, twice=0.1, swapped=0.1), *((40, LEARNT) if LONG else (2, 0.1))),
        ("takes two seconds", Weather(delay=2.0), *((20, 0.5) if LONG else (2, 0.1))),
    ],
)
def test_a_network_that(name: str, weather: Weather, rounds: int, accuracy: float, tmp_path: Path) -> None:
    with ExitStack() as stack:
        field = stack.enter_context(field_of(tmp_path, rounds=rounds))
        for i, node in enumerate(field.nodes.values()):
            port = stack.enter_context(proxy(field.port, weather, seed=i))
            field.configure(node.name, rounds=rounds, broker=f"mqtt://127.0.0.1:{port}", round_timeout=120.0).start()
        all_finish(field, rounds, accuracy=accuracy)
        nodes = field.nodes.values()
        assert all(row["timeouts"] == 0 for node in nodes for row in node.rows[:-1])
        assert sum(timeouts(node) for node in nodes) <= 1  # a device may have left before its last message arrived
        if weather.loss:
            assert weather.counts["lost"] > rounds
            assert weather.counts["twice"] > 0
            assert weather.counts["swapped"] > 0


def test_a_network_that_falls_apart_and_heals(tmp_path: Path) -> None:
    """a and b cannot be reached for a while; both halves go on, and afterwards all hear one another again."""
    rounds, weather = 200, Weather()
    with ExitStack() as stack:
        field = stack.enter_context(field_of(tmp_path, rounds=rounds, round_timeout=2.0))
        for i, name in enumerate("ab"):
            port = stack.enter_context(proxy(field.port, weather, seed=i))
            field.configure(name, rounds=rounds, round_timeout=2.0, broker=f"mqtt://127.0.0.1:{port}")
        for node in field.nodes.values():
            node.start()
        a, c = field.nodes["a"], field.nodes["c"]
        eventually(reached(a, 5), 60)
        weather.apart.set()
        apart = c.round
        eventually(reached(c, apart + 3), 60)
        assert timeouts(c) >= 2
        weather.apart.clear()
        all_finish(field, rounds)
        for node in field.nodes.values():
            assert all(row["timeouts"] == 0 for row in node.rows[-100:]), node.name


def test_a_full_card(tmp_path: Path) -> None:
    """The checkpoint can no longer be written: learning goes on, the last good one stays, and is resumed from."""
    rounds = 40

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    with field_of(tmp_path, rounds=rounds) as field:
        for node in field.nodes.values():
            node.start()
        node = field.nodes["b"]
        eventually(reached(node, 5), 60)
        node.kill()
        node.start(preexec_fn=full)
        eventually(lambda: node.rows[-1].get("checkpoints_failed", 0) >= 3, 60)
        home = tmp_path / "state-b"
        assert len(list(home.glob("round-*"))) == 2
        assert not list(home.glob(".writing-*"))
        node.kill()  # what came after the last checkpoint is lost, and done again
        node.start()
        for one in field.nodes.values():
            one.finish()
            assert one.round == rounds
        assert any("cannot keep a checkpoint" in line for line in node.log)


def test_a_device_with_another_reference_set(tmp_path: Path) -> None:
    rounds = 4
    with field_of(tmp_path, rounds=rounds, round_timeout=3.0) as field:
        field.configure("d", rounds=rounds, round_timeout=3.0, reference="200")
        for node in field.nodes.values():
            node.start()
        for node in field.nodes.values():
            node.finish()
            assert node.round == rounds
        assert field.nodes["a"].rows[-1]["refused_foreign"] >= rounds
        assert field.nodes["d"].rows[-1]["refused_foreign"] >= rounds
        assert "refused_foreign" not in field.nodes["b"].rows[-1]


def test_a_device_with_another_model(tmp_path: Path) -> None:
    """Where weights are exchanged: those of another model are foreign, and averaged with by nobody."""
    rounds = 4
    common = CONFIGURATION.replace("d-distillation", "d-psgd").partition("[settings]")[0]
    with field_of(tmp_path, rounds=rounds) as field:
        export(zoo.build("mlp:32", shape=(1, 8, 8), classes=10), tmp_path / "same")
        export(zoo.build("mlp:16", shape=(1, 8, 8), classes=10), tmp_path / "other")
        for name in NAMES:
            model = "other" if name == "d" else "same"
            field.configure(name, common=common, rounds=rounds, round_timeout=3.0, bundle=model)
        for node in field.nodes.values():
            node.start()
        for node in field.nodes.values():
            node.finish()
            assert node.round == rounds
        for name, refused in (("a", True), ("b", False), ("c", True), ("d", True)):
            assert ("refused_foreign" in field.nodes[name].rows[-1]) == refused


def test_a_hostile_neighbour(tmp_path: Path) -> None:
    """d is somebody else: garbage, well-formed nonsense, replays, floods. a, b and c reach their last round."""
    rounds, flood = 6, 100_000 if LONG else 10_000
    with field_of(tmp_path, rounds=rounds, round_timeout=3.0) as field:
        del field.nodes["d"]
        for node in field.nodes.values():
            node.start()
        eventually(reached(field.nodes["a"], 1), 60)
        enemy = paho.Client(CallbackAPIVersion.VERSION2, client_id="field-d", protocol=paho.MQTTv5)
        enemy.max_queued_messages_set(0)
        enemy.connect("127.0.0.1", field.port)
        enemy.loop_start()
        for payload in nonsense():
            for receiver in "ac":
                for kind in ("soft-labels", "weights", "again", "status"):
                    enemy.publish(f"fleet/field/to/{receiver}/from/d/{kind}", payload, qos=1)
        for _ in range(flood):
            enemy.publish("fleet/field/to/a/from/d/soft-labels", bytes(HEADER), qos=0)
        enemy.publish("fleet/field/to/a/from/d/soft-labels", bytes(100_000_000), qos=1)  # the broker shows it the door
        for node in field.nodes.values():
            node.finish()
            assert node.round == rounds
            assert not any("Traceback" in line for line in node.log)
        enemy.disconnect()
        enemy.loop_stop()
        counted = field.nodes["a"].rows[-1]
        assert counted["refused_malformed"] > 100
        assert counted["refused_foreign"] >= 1
        assert "refused_malformed" not in field.nodes["b"].rows[-1]


def nonsense() -> list[bytes]:
    """Payloads that no honest neighbour sends, most of them with a checksum that fits."""
    good = Message("soft-labels", 2, bytes(8), np.full((300, 10), 0.1, np.float32))
    known = data.take_reference("300", data.load("digits", 0), 0)[0].digest
    (payload,) = encode(good, "delta:15")
    payloads = [b"", b"Mu", bytes(CHUNK), bytes(900_000), payload, payload[:-1], b"Mu\x02" + payload[3:]]
    for number in (1, 2, 3, 2**32 - 1):
        for values in (np.full((300, 10), 1e30), np.full((300, 10), -1.0), np.zeros((1, 1)), np.ones((3000, 10))):
            message = Message("soft-labels", number, known, values.astype(np.float32))
            payloads += encode(message, "float32") + encode(
                Message("weights", number, known, message.values), "float32"
            )
    payloads += [request("soft-labels", n, bytes(8)) for n in range(1, 60)]
    chance = random.Random(0)
    payloads += [chance.randbytes(chance.randrange(2000)) for _ in range(200)]
    return payloads
