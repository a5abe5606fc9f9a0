"""Mutated payloads, telemetry, configurations and manifests by the hundred thousand: typed errors only, bounded memory.

    python -m tests.chaos.fuzz --inputs 1000000 --seed 0
    python -m tests.chaos.fuzz --inputs 1000000 --only telemetry

Payloads come from the golden vectors and from larger messages: bits flipped, bytes replaced, cut, joined and repeated,
and the checksum mended in most of them, so that what is behind it is reached. Configurations and manifests are mutated
as text and as values; so are telemetry and reports to the operator, and the topics that they come under. Prints a JSON
object: inputs and refusals by target, the slowest input, what memory grew by.
"""

import argparse
import io
import json
import math
import random
import resource
import sys
import tempfile
import time
import tomllib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console

from broker import reports
from broker.dashboard import text as dashboard_text
from broker.dashboard.state import FleetState
from broker.monitor import FleetCollector
from edge import bundle, codec, privacy, robust
from edge.bundle import Bundle
from edge.codec import HEADER, decode, encode, join, requested
from edge.config import NodeConfig, checked, read_toml
from edge.errors import MessageError, MurmurError
from edge.interfaces import Delivery, Message
from edge.kinds import SOFT_LABELS, WEIGHTS
from edge.messaging.inbox import Inbox
from edge.operations.prometheus import NUMBERS
from export import zoo
from export.write import export
from tests.vectors.make_wire import DIGEST, PATH

Target = Callable[[random.Random], None]
CONFIGURATION = """\
id = "a"
fleet = "f"
broker = "mqtt://127.0.0.1:1883"
peers = ["a", "b"]
topology = "ring"
bundle = "bundle"
data = "digits"
split = "classes:4"
reference = "300"
protocol = "d-distillation"
aggregation = "trimmed-mean:0.2"
rounds = 10
round_timeout = 30.0
[settings]
distillation_weight = 5.0
[coding]
soft_labels = "delta:15"
[privacy]
noise = "gaussian:1"
"""


def mutated(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """One to four changes."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data)) if data else 0
        kind = chance.randrange(7)
        if kind == 0 and data:
            data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + chance.randbytes(chance.randint(1, 8)) + data[at + chance.randint(0, 8) :]
        elif kind == 2:
            data = data[:at]
        elif kind == 3:
            data = data[:at] + chance.choice(others)[at:]
        elif kind == 4:
            data += data[at : at + 64]
        elif kind == 5:
            number = chance.choice((0, 1, 255, 256, 2**16 - 1, 2**31, 2**32 - 1))
            data = data[:at] + number.to_bytes(4, "little") + data[at + 4 :]
        else:
            data = data[:at] + chance.choice((b"\0", b"\xff", b"\x80")) * chance.randint(1, 16) + data[at:]
    return data


def mended(data: bytes) -> bytes:
    """With the length and the checksum that fit."""
    if len(data) < HEADER:
        return data
    head = data[:32] + (len(data) - HEADER).to_bytes(4, "little")
    return head + zlib.crc32(data[HEADER:], zlib.crc32(head)).to_bytes(4, "little") + data[HEADER:]


def wire() -> Target:
    """decode, join with and without bases, requested, and a whole inbox."""
    seeds = [bytes.fromhex(case["payload"]) for case in json.loads(PATH.read_text()) if "payload" in case]
    values = np.random.default_rng(0).dirichlet(np.full(10, 0.3), 60).astype(np.float32)
    bases = [Message("soft-labels", n, DIGEST, values) for n in (33, 1)]
    for coding in codec.names("soft-labels"):
        if "8" not in coding:
            seeds += encode(Message("soft-labels", 34, DIGEST, values), coding, bases)
    inbox = Inbox({"b": [SOFT_LABELS.format(DIGEST, (60, 10)), WEIGHTS.format(DIGEST, (1, 4))]})

    def once(chance: random.Random) -> None:
        data = mutated(chance.choice(seeds), seeds, chance)
        data = mended(data) if chance.random() < 0.8 else data
        inbox.open(chance.choice((1, 33, 34)))
        inbox.put(Delivery("b", chance.choice(("soft-labels", "weights")), data))
        if chance.random() < 0.3:
            requested(data)
        chunk = decode(data)
        if chunk.rows * chunk.columns <= 10_000:  # as a receiver, which joins only what has the size that was agreed
            message = join([chunk], bases if chance.random() < 0.5 else ())
            assert np.isfinite(message.values).all()

    return once


def configuration(folder: Path) -> Target:
    """A node's file, mutated as text, and as values."""
    path, text = folder / "node.toml", CONFIGURATION.encode()
    odd: list[Any] = [
        None,
        -1,
        0,
        1e308,
        float("nan"),
        "",
        "x" * 9999,
        [],
        {},
        [[]],
        {"a": {}},
        True,
        "../..",
        "\0",
        2**70,
    ]
    whole = tomllib.loads(CONFIGURATION)

    def once(chance: random.Random) -> None:
        if chance.random() < 0.5:
            path.write_bytes(mutated(text, [text], chance))
            values = read_toml(path)
        else:
            values = dict(whole)
            values[chance.choice([*whole, "unknown"])] = chance.choice(odd)
        config = checked(NodeConfig, values, "node.toml")
        config.coding.by_kind()
        robust.load(config.aggregation or "mean")
        privacy.publisher(config.privacy.noise, config.privacy.temperature, 0)

    return once


def manifest(folder: Path) -> Target:
    """A bundle's manifest, mutated as text, and as values."""
    written: Bundle = export(zoo.build("mlp:4", shape=(3,), classes=2), folder / "bundle")
    path = written.path / "manifest.json"
    text = path.read_bytes()
    odd: list[Any] = [None, -1, 1.5, "", [], {}, [None], "x" * 9999, 2**70, True]

    def once(chance: random.Random) -> None:
        data = mutated(text, [text], chance)
        if chance.random() < 0.5:
            values = json.loads(text)
            where = values
            while isinstance(where, dict) and where and chance.random() < 0.5:
                key = chance.choice(sorted(where))
                if not isinstance(where[key], dict):
                    break
                where = where[key]
            if isinstance(where, dict) and where:
                where[chance.choice(sorted(where))] = chance.choice(odd)
            data = json.dumps(values).encode()
        path.write_bytes(data)
        bundle.read(written.path)

    return once


def telemetry() -> Target:
    """What devices report, through parser, monitor, dashboard, text view and operator."""
    row: dict[str, Any] = {"round": 3.0, "loss": 0.5, "accuracy_all": 0.9, "sent_to/b": 30.0, "loss/cross_entropy": 0.5}
    row |= {"refused_malformed": 1.0, "temperature": 50.0, "outcome": "installed model-2", "device": "a"}
    text = json.dumps(row).encode()
    odd: list[Any] = [
        None,
        -1,
        1e308,
        -1e300,
        math.nan,
        math.inf,
        10**401,
        -(10**4000),
        "",
        "\x1b[2J",
        "x" * 9999,
        [],
        {},
    ]
    odd += [True, "9" * 5000, 0.0, -0.0, 2**64, 5e-324]
    topic = [b"fleet/f/telemetry/a", b"fleet/f/status/a", b"fleet/f/to/operator/from/a/report"]
    collector, state = FleetCollector("f"), FleetState("f", lambda: 1e9)
    count = 0

    def once(chance: random.Random) -> None:
        nonlocal count
        count += 1
        if chance.random() < 0.5:
            data = mutated(text, [text, b"online", b"[" * 900], chance)
        else:
            values = dict(row)
            for _ in range(chance.randint(1, 4)):
                key = chance.choice([*row, "x" * 99, "sent_to/..", "loss/" + "y" * 60, "\x00"])
                values[key] = chance.choice(odd)
            data = json.dumps(values).encode()
        where = chance.choice(topic)
        where = mutated(where, topic, chance) if chance.random() < 0.3 else where
        name = where.decode(errors="replace")
        collector.take(name, data, 1e9)
        state.take(name, data, 1e9)
        report, answer = reports.read(name, data), reports.read_report(data)
        for numbers in ((report and report.row) or {}, answer):
            for key, value in numbers.items():
                family = key.startswith((reports.TERM, reports.RECEIVER))
                assert family or key in NUMBERS or key in reports.TEXTS, key
                assert value.isprintable() if isinstance(value, str) else abs(value) <= reports.LARGEST
        if count % 5000 == 0:
            generate_latest(registry)
            json.dumps(state.snapshot(), allow_nan=False)
            Console(file=io.StringIO()).print(dashboard_text.picture(state.snapshot()))
        if report is None and not answer:
            raise MessageError("no report")

    registry = CollectorRegistry()
    registry.register(collector)
    return once


def main() -> int:
    """Run all targets; any error that is not typed ends it."""
    parser = argparse.ArgumentParser(description="Mutated inputs: typed errors only?")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["wire", "telemetry", "configuration", "manifest"], help="default: all")
    args = parser.parse_args()
    chance = random.Random(args.seed)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        targets = {
            "wire": (wire(), 0.6),
            "telemetry": (telemetry(), 0.2),
            "configuration": (configuration(Path(name)), 0.1),
        }
        targets["manifest"] = manifest(Path(name)), 0.1
        if args.only:
            targets = {args.only: (targets[args.only][0], 1.0)}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for title, (once, share) in targets.items():
            refused, slowest = 0, 0.0
            count = int(share * args.inputs)
            for _ in range(count):
                begin = time.perf_counter()
                try:
                    once(chance)
                except (MessageError, MurmurError):
                    refused += 1
                slowest = max(slowest, time.perf_counter() - begin)
            results[title] = {"inputs": count, "refused": refused, "slowest_seconds": round(slowest, 4)}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({**results, "memory_grew_mb": grown / 1024}))
    return 0 if grown < 100 * 1024 else 1


if __name__ == "__main__":
    sys.exit(main())
