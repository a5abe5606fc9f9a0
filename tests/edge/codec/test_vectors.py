"""The golden vectors, read by the encoder and the decoder."""

import json
from typing import Any

import numpy as np
import pytest

from edge.codec import decode, encode, join, requested
from edge.interfaces import Message
from tests.vectors.make_wire import PATH, vectors

CASES = json.loads(PATH.read_text())
MESSAGES = [case for case in CASES if "values" in case]


def test_they_cover_what_is_made_today() -> None:
    assert [case["title"] for case in CASES] == [case["title"] for case in vectors()]


@pytest.mark.parametrize("case", MESSAGES, ids=lambda c: str(c["title"]))
def test_encoder(case: dict[str, Any]) -> None:
    values = np.array(case["values"], np.float32)
    message = Message(case["kind"], case["round"], bytes.fromhex(case["digest"]), values)
    assert [p.hex() for p in encode(message, case["coding"])] == [case["payload"]]


@pytest.mark.parametrize("case", MESSAGES, ids=lambda c: str(c["title"]))
def test_decoder(case: dict[str, Any]) -> None:
    found = join([decode(bytes.fromhex(case["payload"]))])
    assert (found.kind, found.round, found.digest.hex()) == (case["kind"], case["round"], case["digest"])
    values = np.array(case["values"])
    if case["coding"] == "probability8":
        values = np.clip(values, 0, None) / np.clip(values, 0, None).sum(axis=1, keepdims=True)
    tolerance = {"float32": 1e-7, "float16": 1e-3, "probability8": 1 / 255}[case["coding"]]
    np.testing.assert_allclose(found.values, values, atol=tolerance)


def test_request() -> None:
    (case,) = [case for case in CASES if "values" not in case]
    assert requested(bytes.fromhex(case["payload"])) == (case["kind"], case["round"])
