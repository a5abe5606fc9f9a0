"""Two soaks of real `edge-node` processes over a real Mosquitto. Each prints one JSON object; exit code 1 if it failed.

    python -m tests.chaos.soak kills --kills 200 --broker-kills 20 --seed 0
    python -m tests.chaos.soak memory --rounds 5000 --hostile 1000

`kills` ends processes with SIGKILL at random moments while a fleet of four learns, and compares its accuracies with
those of one that ran undisturbed. `memory` lets three devices play many rounds, beside a fourth that sends so many
messages a second, and compares their memory and descriptors early and late.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho  # noqa: TID251
from paho.mqtt.enums import CallbackAPIVersion  # noqa: TID251

from edge.codec import encode
from edge.interfaces import Message
from tests.chaos.field import NAMES, Field, Node, field_of

LAST_KILL = 0.75
"""of the rounds: a device that is killed later may find that its neighbours have ended"""
NOISE = 0.05
"""by which a final accuracy may differ from the undisturbed one"""
GROWTH_MB, GROWTH_FILES = 20.0, 5
"""more memory and descriptors than a device may have late than early"""


def main() -> int:
    """Run a soak."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("kills", "memory"))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--broker-kills", type=int, default=20)
    parser.add_argument("--rounds", type=int, help="default: 600 for kills, 5000 for memory")
    parser.add_argument("--hostile", type=int, default=0, help="messages a second of a fourth device that is hostile")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.what == "kills":
        result = kills(args.kills, args.broker_kills, args.rounds or 600, args.seed)
    else:
        result = memory(args.rounds or 5000, args.hostile)
    print(json.dumps(result))
    return 0 if result["ok"] else 1


def kills(count: int, broker_count: int, rounds: int, seed: int) -> dict[str, Any]:
    """Kill devices and the broker at random moments; what became of the fleet."""
    undisturbed, _ = _learn(rounds, 0, 0, seed)
    disturbed, done = _learn(rounds, count, broker_count, seed)
    difference = max(abs(a - b) for a, b in zip(undisturbed, disturbed, strict=True))
    enough = done == (count, broker_count)
    return {
        "ok": enough and difference <= NOISE,
        "kills": done[0],
        "broker_kills": done[1],
        "rounds": rounds,
        "undisturbed": undisturbed,
        "disturbed": disturbed,
        "largest_difference": difference,
    }


def _learn(rounds: int, count: int, broker_count: int, seed: int) -> tuple[list[float], tuple[int, int]]:
    """Final accuracies of the devices, and how often one of them and the broker were killed."""
    chance = random.Random(seed)
    victims = [*chance.choices(NAMES, k=count), *[""] * broker_count]
    chance.shuffle(victims)
    done = {"device": 0, "broker": 0}
    with tempfile.TemporaryDirectory() as name, field_of(Path(name), rounds=rounds) as field:
        for node in field.nodes.values():
            node.start()
        # By rounds, not by seconds: so all of them come before the end, on a quick machine as on a slow one.
        moments = sorted(chance.uniform(1, LAST_KILL * rounds) for _ in victims)
        for victim, moment in zip(victims, moments, strict=True):
            while not any(_reached(node, int(moment)) for node in field.nodes.values()):
                time.sleep(0.02)
            time.sleep(moment % 1 * 0.1)
            done["device" if victim else "broker"] += _kill(field, victim)
        for node in field.nodes.values():
            node.finish(1800)
            assert node.round == rounds, f"{node.name} has ended in round {node.round}"
        accuracies = [node.rows[-1]["accuracy_all"] for node in field.nodes.values()]
    return accuracies, (done["device"], done["broker"])


def _kill(field: Field, victim: str) -> bool:
    """Kill a device, or the broker ("") and start it again; False if the device has ended by itself."""
    if not victim:
        field.kill_broker()
        field.start_broker()
        return True
    node = field.nodes[victim]
    assert node.process is not None
    if node.process.poll() is not None:
        return False
    node.kill()
    node.start()
    return True


def memory(rounds: int, hostile: int) -> dict[str, Any]:
    """Let three devices play, and compare what they hold at a tenth of the rounds and at the end."""
    stop = threading.Event()
    figures: dict[str, dict[str, dict[str, float]]] = {"early": {}, "late": {}}
    with tempfile.TemporaryDirectory() as name, field_of(Path(name)) as field:
        del field.nodes["d"]
        common = 'fleet = "field"\npeers = ["a", "b", "c", "d"]\ntopology = "complete"\ndata = "digits"\n'
        common += 'split = "iid"\nreference = "60"\n[settings]\nlocal_steps = 1\nlearning_rate = 0.05\n'
        for node in field.nodes.values():
            field.configure(node.name, common=common, rounds=rounds, round_timeout=2.0, evaluate_every=rounds).start()
        enemy = threading.Thread(target=_flood, args=(field.port, hostile, stop))
        enemy.start()
        try:
            for label, number in (("early", rounds // 10), ("late", rounds - 1)):
                while not all(_reached(node, number) for node in field.nodes.values()):
                    time.sleep(0.02)
                figures[label] = {node.name: _held(node, number) for node in field.nodes.values()}
            for node in field.nodes.values():
                node.finish(600)
        finally:
            stop.set()
            enemy.join()
        refused = sum(v for k, v in field.nodes["a"].rows[-1].items() if k.startswith("refused_"))
    growth = [
        (figures["late"][n]["memory_mb"] - mb["memory_mb"], figures["late"][n]["files"] - mb["files"])
        for n, mb in figures["early"].items()
    ]
    flat = all(more <= GROWTH_MB and files <= GROWTH_FILES for more, files in growth)
    return {"ok": flat, "rounds": rounds, "hostile": hostile, "refused": refused, **figures}


def _reached(node: Node, number: int) -> bool:
    assert node.process is not None
    assert node.process.poll() in (None, 0), "".join(node.log)
    return node.round >= number


def _held(node: Node, number: int) -> dict[str, float]:
    """What a device reports about its memory, and its open files now; those of a process that has ended count as 0."""
    assert node.process is not None
    folder = Path(f"/proc/{node.process.pid}/fd")
    try:
        files = len(list(folder.iterdir()))
    except OSError:
        files = 0
    row = next(row for row in node.rows if row["round"] >= number)
    return {"memory_mb": row["memory_mb"], "files": files}


def _flood(port: int, rate: int, stop: threading.Event) -> None:
    """Send to a what a hostile d would: garbage, and well-formed messages of any round."""
    if not rate:
        return
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="field-d", protocol=paho.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    chance, number = random.Random(0), 0
    while not stop.wait(0.1):
        for _ in range(rate // 10):
            number += 1
            payload = chance.randbytes(300)
            if number % 2:
                values = np.full((60, 10), 0.1, np.float32)
                (payload,) = encode(
                    Message("soft-labels", number, chance.randbytes(8), values), "simplex:8", run=number
                )
            kind = "again" if number % 5 == 0 else "soft-labels"
            client.publish(f"fleet/field/to/{'abc'[number % 3]}/from/d/{kind}", payload, qos=0)
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    sys.exit(main())
