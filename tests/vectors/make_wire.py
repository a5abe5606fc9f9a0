"""Write tests/vectors/wire.json: payloads as hexadecimal, and what they mean.

    python -m tests.vectors.make_wire

Three sorts of case, told apart by what they have:
    values    a message and its one payload, to be encoded and decoded; "bases": titles of what was said before
    headers   a message of several payloads, by their headers; all its values are 0, so every body byte is
    refused   a payload that must be dropped, with a word of the reason

Run it when a case is added. If the payload of an old one changes, the format has, and its version
must too: the file is what other implementations are tested against.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from edge.codec import HEADER, Greeting, decode, encode, greeting, join, request
from edge.interfaces import Message


def _beliefs() -> list[list[list[float]]]:
    """Whole numbers only, so that they are the same everywhere."""
    grid = np.add.outer(7 * np.arange(8), 3 * np.arange(6))
    logits = [(grid * grid) % 11, (grid * grid) % 11 + grid % 2, (grid * grid) % 11 + 2 * (grid % 2), (5 * grid) % 13]
    return [np.round(2.0**k / (2.0**k).sum(axis=1, keepdims=True), 6).tolist() for k in logits]


PATH = Path(__file__).with_name("wire.json")
DIGEST = bytes.fromhex("0123456789abcdef")
SOFT = [[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]
TRACKING = [[1.2, -0.1, -0.1], [0.4, 0.4, 0.2]]
NOTHING = [[0.0, 0.0, 0.0, 0.0], [-1.0, -2.0, -3.0, -4.0]]
CLOSE = [[0.25, 0.251953125, 0.24951171875, 0.24853515625]]  # 63.75 64.25 63.63 63.38: three would get 64
WEIGHTS = [[0.0, -1.0, 3.5, 1e-3]]
MOVED = [[0.01, -1.0, 3.25, 0.125]]
NUMBERS = [[-1.5, 10.0, 0.0], [0.25, 12.0, 0.5], [2.5, 11.0, 0.25], [1.0, 10.5, 1.0]]
LABELS = [[0.0], [9.0], [255.0]]
BELIEFS = _beliefs()
"""of 8 rows and 6 classes: twice a little later, and then another model's"""
CASES: list[tuple[Any, ...]] = [
    ("soft labels as float32", "soft-labels", 1, "float32", SOFT),
    ("soft labels as float16", "soft-labels", 2, "float16", SOFT),
    ("soft labels in 8 bits", "soft-labels", 300, "simplex:8", SOFT),
    ("a tracking variable outside the simplex, in 8 bits", "soft-labels", 70000, "simplex:8", TRACKING),
    ("rows with nothing above 0 become uniform, in 8 bits", "soft-labels", 3, "simplex:8", NOTHING),
    ("the largest stays the first largest, in 8 bits", "soft-labels", 4, "simplex:8", CLOSE),
    ("soft labels in 4 bits", "soft-labels", 11, "simplex:4", SOFT),
    ("soft labels in 2 bits", "soft-labels", 12, "simplex:2", SOFT),
    ("the argmax in 1 bit", "soft-labels", 13, "simplex:1", SOFT),
    ("logarithms in 8 bits", "soft-labels", 14, "log:8", SOFT),
    ("logarithms in 6 bits", "soft-labels", 15, "log:6", SOFT),
    ("logarithms in 4 bits", "soft-labels", 16, "log:4", SOFT),
    ("rows with nothing above 0 become uniform, by logarithms", "soft-labels", 17, "log:4", NOTHING),
    ("cube roots in 6 bits", "soft-labels", 18, "cuberoot:6", SOFT),
    ("cube roots in 5 bits", "soft-labels", 19, "cuberoot:5", SOFT),
    ("cube roots in 4 bits", "soft-labels", 20, "cuberoot:4", SOFT),
    ("a tracking variable outside the simplex, by cube roots", "soft-labels", 21, "cuberoot:4", TRACKING),
    ("the largest and its probability", "soft-labels", 22, "topk:1", SOFT),
    ("the three largest of five", "soft-labels", 23, "topk:3", [[0.1, 0.5, 0.05, 0.15, 0.2], [0.2] * 5]),
    ("the three largest of two", "soft-labels", 24, "topk:3", [[0.25, 0.75]]),
    ("the largest of 300, numbered in two bytes", "soft-labels", 25, "topk:1", [[0.0] * 299 + [1.0]]),
    ("cube roots in 24 cells, whole", "soft-labels", 31, "delta:24", SOFT),
    ("rows with nothing above 0 become uniform, in 15 cells", "soft-labels", 32, "delta:15", NOTHING),
    ("what is said in 8 by 6", "soft-labels", 33, "delta:15", BELIEFS[0]),
    ("its change", "soft-labels", 34, "delta:15", BELIEFS[1], "what is said in 8 by 6"),
    ("the change of its change", "soft-labels", 36, "delta:15", BELIEFS[2], "its change", "what is said in 8 by 6"),
    ("the change of something else: whole is shorter", "soft-labels", 37, "delta:7", BELIEFS[3], "its change"),
    ("a tracking variable's change, in 3 cells", "soft-labels", 38, "delta:3", BELIEFS[2], "its change"),
    ("weights as float32", "weights", 4294967295, "float32", WEIGHTS),
    ("weights as float16", "weights", 6, "float16", WEIGHTS),
    ("weights whole, before any difference", "weights", 40, "int8-delta", WEIGHTS),
    ("the weights' difference in 8 bits", "weights", 41, "int8-delta", MOVED, "weights whole, before any difference"),
    ("outputs of a regression as float32", "outputs", 50, "float32", NUMBERS),
    ("outputs of a regression in 8 bits between each column's ends", "outputs", 51, "range:8", NUMBERS),
    ("outputs of a regression in 4 bits", "outputs", 52, "range:4", NUMBERS),
    ("a column that does not vary, in 4 bits: its number is exact", "outputs", 53, "range:4", [[2.5, 1.0], [2.5, 3.0]]),
    ("probabilities of labels in 8 bits", "outputs", 54, "range:8", [[0.0, 1.0, 0.5], [0.25, 0.75, 1.0]]),
    ("class numbers in a byte each", "labels", 9, "integer8", LABELS),
]
RUN = 0x5F3A9C01
OF_A_RUN: list[tuple[Any, ...]] = [
    ("soft labels in 8 bits, of a run", "soft-labels", 300, "simplex:8", SOFT),
    ("weights as float32, of a run", "weights", 4294967295, "float32", WEIGHTS),
    ("what is said in 8 by 6, of a run", "soft-labels", 33, "delta:15", BELIEFS[0]),
]
"""in version 2 of the format"""
SESSIONS = bytes.fromhex("00112233445566778899aabbccddeeff")
LONG = (1, 127_991)
"""One value more than one payload holds as float32."""


def vectors() -> list[dict[str, Any]]:
    """Every case, coded."""
    found: list[dict[str, Any]] = []
    said: dict[str, Message] = {}
    for title, kind, number, coding, values, *before in CASES:
        bases = [said[name] for name in before]
        (payload,) = encode(Message(kind, number, DIGEST, np.array(values, np.float32)), coding, bases)
        said[title] = join([decode(payload)], bases)
        case = {"title": title, "kind": kind, "round": number, "coding": coding, "digest": DIGEST.hex()}
        found.append({**case, "values": values, "payload": payload.hex()} | ({"bases": before} if before else {}))
    for title, kind, number, coding, values in OF_A_RUN:
        (payload,) = encode(Message(kind, number, DIGEST, np.array(values, np.float32)), coding, run=RUN)
        case = {"title": title, "kind": kind, "round": number, "coding": coding, "digest": DIGEST.hex(), "run": RUN}
        found.append({**case, "values": values, "payload": payload.hex()})
    payloads = encode(Message("weights", 7, DIGEST, np.zeros(LONG, np.float32)), "float32")
    case = {"title": "two chunks", "kind": "weights", "round": 7, "coding": "float32", "digest": DIGEST.hex()}
    found.append({**case, "shape": list(LONG), "headers": [p[:HEADER].hex() for p in payloads]})
    asked = request("soft-labels", 5, DIGEST)
    found.append({"title": "a request for round 5", "kind": "soft-labels", "round": 5, "payload": asked.hex()})
    part = request("weights", 5, DIGEST, (1, 2), 4)
    case = {"title": "a request for two chunks of four", "kind": "weights", "round": 5, "missing": [1, 2], "count": 4}
    found.append({**case, "payload": part.hex()})
    asked = request("soft-labels", 5, DIGEST, run=RUN)
    case = {"title": "a request for round 5, of a run", "kind": "soft-labels", "round": 5, "run": RUN}
    found.append({**case, "payload": asked.hex()})
    session, answers = SESSIONS[:8], SESSIONS[8:]
    for title, words in (
        ("a question by a device that is in no run yet", Greeting(0, 1, session, asks=True)),
        ("its answer", Greeting(RUN, 12, answers, session)),
    ):
        greeted = {"run": words.run, "round": words.round, "session": words.session.hex()}
        greeted |= {"answers": words.answers.hex(), "asks": words.asks}
        found.append({"title": title, **greeted, "payload": greeting(words).hex()})
    return found + [{"title": t, "refused": word, "payload": p.hex()} for t, word, p in _refused()]


def _refused() -> list[tuple[str, str, bytes]]:
    coded = {name: encode(Message("soft-labels", 1, DIGEST, np.array(SOFT, np.float32)), name)[0] for name in _NAMES}
    good = coded["simplex:8"]
    (of_a_run,) = encode(Message("soft-labels", 1, DIGEST, np.array(SOFT, np.float32)), "simplex:8", run=RUN)
    (coded_weights,) = encode(Message("weights", 1, DIGEST, np.array(WEIGHTS, np.float32)), "int8-delta")
    return [
        ("no bytes", "40 to 512000 bytes", b""),
        ("half a header", "40 to 512000 bytes", good[:20]),
        ("the last byte is missing", "announces a body", good[:-1]),
        ("a byte too many", "announces a body", good + b"\0"),
        ("one bit of the body flipped", "checksum", good[:-1] + b"\1"),
        ("not ours", "'Mu'", _altered(good, 0, b"mU")),
        ("version 3", "version 3", _altered(good, 2, b"\3")),
        ("the last byte is missing, of a run", "checksum", of_a_run[:-1]),
        ("a byte too many, of a run", "checksum", of_a_run + b"\0"),
        ("another run than the checksum's", "checksum", of_a_run[:32] + b"\0" + of_a_run[33:]),
        ("a reserved byte set, of a run", "reserved", _altered(of_a_run, 10, b"\1")),
        ("unknown kind", "kind 99", _altered(good, 3, b"\x63")),
        ("unknown coding", "coding 200", _altered(good, 4, b"\xc8")),
        ("coding 0 with a body", "coding 0", _altered(good, 4, b"\0")),
        ("a reserved byte set", "reserved", _altered(good, 5, b"\1")),
        ("chunk 1 of 1", "impossible", _altered(good, 6, b"\1\0")),
        ("no chunks", "impossible", _altered(good, 8, b"\0\0")),
        ("more chunks than values need", "impossible", _altered(good, 8, b"\2\0")),
        ("the other reserved bytes set", "reserved", _altered(good, 10, b"\0\1")),
        ("round 0", "impossible", _altered(good, 12, bytes(4))),
        ("more than 2^26 values", "impossible", _altered(good, 24, b"\xff" * 8)),
        ("2^32 - 1 rows of no columns", "impossible", _altered(good[:HEADER], 24, b"\xff" * 4 + bytes(8))),
        ("no rows", "impossible", _altered(good[:HEADER], 24, bytes(4) + b"\3\0\0\0" + bytes(4))),
        ("a body for one row more", "do not take", _altered(good, 24, b"\3\0\0\0")),
        ("a row of codes that sums to 254", "sum to 255", _altered(good, HEADER, b"\x7e")),
        ("a row of codes that sums to 511", "sum to 255", _altered(good, HEADER + 4, b"\xff\1")),
        ("not a number, as float32", "not finite", _altered(coded["float32"], HEADER, b"\0\0\xc0\x7f")),
        ("infinity, as float32", "not finite", _altered(coded["float32"], HEADER, b"\0\0\x80\xff")),
        ("a signalling not-a-number, as float16", "not finite", _altered(coded["float16"], HEADER, b"\1\x7c")),
        ("infinity, as float16", "not finite", _altered(coded["float16"], HEADER, b"\0\xfc")),
        ("4-bit codes that sum to 16", "sum to 15", _altered(coded["simplex:4"], HEADER, b"\x94")),
        (
            "2-bit codes, the last byte not filled with zeros",
            "zeros",
            _altered(coded["simplex:2"], HEADER + 1, b"\x31"),
        ),
        ("an argmax twice, in 1 bit", "sum to 1", _altered(coded["simplex:1"], HEADER, b"\xd0")),
        ("two largest entries, by logarithms", "one largest", _altered(coded["log:4"], HEADER, b"\x00")),
        ("no largest entry, by logarithms", "one largest", _altered(coded["log:4"], HEADER, b"\x11")),
        ("two largest entries, by cube roots", "one largest", _altered(coded["cuberoot:4"], HEADER + 30, b"\x00")),
        ("a mean ratio of 1", "between 0 and 1", _altered(coded["cuberoot:4"], HEADER, b"\x00\x3c")),
        ("a mean ratio that is no number", "between 0 and 1", _altered(coded["cuberoot:4"], HEADER, b"\x00\x7e")),
        ("a mean ratio below 0", "between 0 and 1", _altered(coded["cuberoot:4"], HEADER, b"\x00\xbc")),
        ("a code in use that stands for 0", "is 0", _altered(coded["cuberoot:4"], HEADER, bytes(30))),
        ("a column too far, of the largest", "order or range", _altered(coded["topk:1"], HEADER, b"\3")),
        ("a code that others exceed", "above the others", _altered(coded["topk:1"], HEADER + 2, b"\x03")),
        ("columns in the wrong order", "order or range", _altered(coded["topk:3"], HEADER, b"\1\0")),
        ("a column twice", "order or range", _altered(coded["topk:3"], HEADER + 1, b"\0")),
        ("three codes that sum to more", "sum to 255", _altered(coded["topk:3"], HEADER + 6, b"\xff")),
        ("three codes of three that sum to less", "sum to 255", _altered(coded["topk:3"], HEADER + 6, b"\x01")),
        ("a change since round 7, which is not here", "round 7", _altered(coded["delta:15"], HEADER, b"\7")),
        ("a change of a change of nothing", "none after it", _altered(coded["delta:15"], HEADER + 4, b"\7")),
        ("a coder's state that is too low", "state", _altered(coded["delta:15"], HEADER + 23, bytes(4))),
        (
            "another of the coded bytes",
            "left over|too early|largest",
            _altered(coded["delta:15"], HEADER + 24, b"\xff"),
        ),
        (
            "rows without a largest entry",
            "largest|left over|too early",
            _altered(coded["delta:15"], HEADER + 25, b"\1"),
        ),
        ("no room for the coder's state", "do not hold", _altered(good, 4, b"\x12")),
        ("a difference from round 7, which is not here", "take 10", _altered(coded_weights, HEADER, b"\7")),
        ("a difference of the right size", "round 7", _altered(_resized(coded_weights, 10), HEADER, b"\7")),
        ("roots without their mean ratios", "do not take", _altered(good, 4, b"\x0e")),
    ]


_NAMES = (
    *("float32", "float16", "simplex:8", "simplex:4", "simplex:2", "simplex:1"),
    *("log:4", "cuberoot:4", "topk:1", "topk:3", "delta:15"),
)


def _altered(payload: bytes, at: int, content: bytes) -> bytes:
    """`payload` with `content` at a place, and a checksum that fits."""
    changed = bytearray(payload)
    changed[at : at + len(content)] = content
    head, body = bytes(changed[: HEADER - 4]), bytes(changed[HEADER:])
    return head + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") + body


def _resized(payload: bytes, body: int) -> bytes:
    """`payload` with a body of so many bytes, and a header that fits."""
    return _altered(_altered(payload[: HEADER + body], 32, body.to_bytes(4, "little")), HEADER, b"")


if __name__ == "__main__":
    PATH.write_text(json.dumps(vectors(), indent=1) + "\n")
