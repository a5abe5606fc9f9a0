"""Write tests/vectors/wire.json: payloads as hexadecimal, and what they mean.

    python -m tests.vectors.make_wire

Run it only when the format changes on purpose (and then its version must too): the file is what
other implementations are tested against.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from edge.codec import encode, request
from edge.interfaces import Expected, Message

PATH = Path(__file__).with_name("wire.json")
DIGEST = bytes.fromhex("0123456789abcdef")
SOFT = [[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]
TRACKING = [[1.2, -0.1, -0.1], [0.4, 0.4, 0.2]]
WEIGHTS = [[0.0, -1.0, 3.5, 1e-3]]
CASES = [
    ("soft labels as float32", "soft-labels", 1, "float32", SOFT),
    ("soft labels as float16", "soft-labels", 2, "float16", SOFT),
    ("soft labels in 8 bits", "soft-labels", 300, "probability8", SOFT),
    ("a tracking variable outside the simplex, in 8 bits", "soft-labels", 70000, "probability8", TRACKING),
    ("weights as float32", "weights", 4294967295, "float32", WEIGHTS),
]


def vectors() -> list[dict[str, Any]]:
    """Every case, coded."""
    found: list[dict[str, Any]] = []
    for title, kind, number, coding, values in CASES:
        (payload,) = encode(Message(kind, number, DIGEST, np.array(values, np.float32)), coding)
        case = {"title": title, "kind": kind, "round": number, "coding": coding, "digest": DIGEST.hex()}
        found.append({**case, "values": values, "payload": payload.hex()})
    asked = request(Expected("soft-labels", 5, DIGEST, (2, 3)))
    found.append({"title": "a request for round 5", "kind": "soft-labels", "round": 5, "payload": asked.hex()})
    return found


if __name__ == "__main__":
    PATH.write_text(json.dumps(vectors(), indent=1) + "\n")
