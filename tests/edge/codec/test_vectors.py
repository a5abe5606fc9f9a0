"""The golden vectors, read by the encoder and the decoder."""

import json
import runpy
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.codec import HEADER, Greeting, Request, decode, encode, greeting, join, parse, requested
from edge.errors import MessageError
from edge.interfaces import Array, Message
from tests.vectors.make_wire import PATH, vectors

CASES = json.loads(PATH.read_text())
MESSAGES = [case for case in CASES if "values" in case]
LONG = [case for case in CASES if "headers" in case]
REFUSED = [case for case in CASES if "refused" in case]
GREETINGS = [case for case in CASES if "session" in case]
REQUESTS = [case for case in CASES if case not in MESSAGES + LONG + REFUSED + GREETINGS]
TOLERANCE = {
    "range:8": 4 / 255 / 2 + 1e-6,  # half a step of the widest column
    "range:4": 4 / 15 / 2 + 1e-6,
    "float32": 1e-7,
    "float16": 1e-3,
    "integer8": 0,
    "simplex:8": 2 / 255,
    "simplex:4": 2 / 15,
    "simplex:2": 2 / 3,
    "simplex:1": 1,
    "log:8": 0.02,
    "log:6": 0.06,
    "log:4": 0.2,
    "cuberoot:6": 0.02,
    "cuberoot:5": 0.04,
    "cuberoot:4": 0.08,
    "int8-delta": 0.02,
    "delta:24": 0.03,
    "delta:15": 0.05,
    "delta:7": 0.1,
    "delta:3": 0.2,
    "topk:1": 0.26,
    "topk:3": 0.06,
}
DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = runpy.run_path(str(DOCS / "reference_decoder.py"))
DELTA = runpy.run_path(str(DOCS / "reference_delta_decoder.py"))
BY_TITLE = {case["title"]: case for case in MESSAGES}


def title(case: dict[str, Any]) -> str:
    return str(case["title"])


def bases(case: dict[str, Any]) -> list[Message]:
    """What was said before, as it was decoded."""
    return [read(BY_TITLE[name]) for name in case.get("bases", [])]


def read(case: dict[str, Any]) -> Message:
    return join([decode(bytes.fromhex(case["payload"]))], bases(case))


def of(case: dict[str, Any], values: Array) -> Message:
    return Message(case["kind"], case["round"], bytes.fromhex(case["digest"]), values)


def test_the_file_is_what_the_script_writes() -> None:
    assert vectors() == CASES


@pytest.mark.parametrize("case", MESSAGES, ids=title)
def test_encoder(case: dict[str, Any]) -> None:
    payloads = encode(of(case, np.array(case["values"], np.float32)), case["coding"], bases(case), case.get("run"))
    assert [p.hex() for p in payloads] == [case["payload"]]


@pytest.mark.parametrize("case", MESSAGES, ids=title)
def test_decoder(case: dict[str, Any]) -> None:
    message = read(case)
    assert (message.kind, message.round, message.digest.hex()) == (case["kind"], case["round"], case["digest"])
    values = np.array(case["values"])
    if case["coding"] not in ("float32", "float16", "integer8", "int8-delta", "range:8", "range:4"):
        values = np.clip(values, 0, None)
        values[values.sum(axis=1) == 0] = 1
        values /= values.sum(axis=1, keepdims=True)
        np.testing.assert_array_equal(message.values.argmax(axis=1), values.argmax(axis=1))
    np.testing.assert_allclose(message.values, values, atol=TOLERANCE[case["coding"]])


@pytest.mark.parametrize("case", MESSAGES, ids=title)
def test_the_reference_decoder_reads_the_same(case: dict[str, Any]) -> None:
    payload, expected = bytes.fromhex(case["payload"]), read(case).values
    if case["coding"] == "int8-delta":
        known = {base.round: base.values.ravel().tolist() for base in bases(case)}
        rows = np.reshape(DELTA["differences"](payload[HEADER:], expected.size, known), expected.shape)
    elif case["coding"].startswith("delta"):
        cells = DELTA["CELLS"][payload[4]]
        known = {base.round: DELTA["nearest"](base.values.tolist(), cells) for base in bases(case)}
        rows, codes = DELTA["body_values"](payload[HEADER:], cells, *expected.shape, known)
        assert codes == DELTA["nearest"](rows, cells)
    else:
        kind, number, digest, rows = REFERENCE["decode"]([payload])
        assert (kind, number, digest.hex()) == (case["kind"], case["round"], case["digest"])
    np.testing.assert_allclose(rows, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("case", [c for c in CASES if "refused" in c], ids=title)
def test_the_reference_decoder_refuses_the_same(case: dict[str, Any]) -> None:
    with pytest.raises((ValueError, zlib.error), match=r"."):
        by_reference(bytes.fromhex(case["payload"]))


def by_reference(payload: bytes) -> None:
    if len(payload) > HEADER and payload[4] == 21:
        count = int.from_bytes(payload[24:28], "little") * int.from_bytes(payload[28:32], "little")
        DELTA["differences"](payload[HEADER:], count, {})
    elif len(payload) > HEADER and payload[4] in DELTA["CELLS"]:
        shape = (int.from_bytes(payload[at : at + 4], "little") for at in (24, 28))
        DELTA["body_values"](payload[HEADER:], DELTA["CELLS"][payload[4]], *shape, {})
    else:
        REFERENCE["decode"]([payload])


@pytest.mark.parametrize("case", LONG, ids=title)
def test_chunks(case: dict[str, Any]) -> None:
    values = np.zeros(case["shape"], np.float32)
    payloads = encode(of(case, values), case["coding"])
    assert [p[:HEADER].hex() for p in payloads] == case["headers"]
    bodies = [bytes(int.from_bytes(bytes.fromhex(h)[32:36], "little")) for h in case["headers"]]
    message = join([decode(bytes.fromhex(h) + b) for h, b in zip(case["headers"], bodies, strict=True)])
    np.testing.assert_array_equal(message.values, values)


@pytest.mark.parametrize("case", REFUSED, ids=title)
def test_refused(case: dict[str, Any]) -> None:
    with pytest.raises(MessageError, match=case["refused"]):
        join([decode(bytes.fromhex(case["payload"]))])


@pytest.mark.parametrize("case", REQUESTS, ids=title)
def test_request(case: dict[str, Any]) -> None:
    expected = Request(case["kind"], case["round"], tuple(case.get("missing", ())), case.get("count", 0))
    expected = replace(expected, run=case.get("run"))
    assert requested(bytes.fromhex(case["payload"])) == expected


@pytest.mark.parametrize("case", GREETINGS, ids=title)
def test_greeting(case: dict[str, Any]) -> None:
    session, answers = bytes.fromhex(case["session"]), bytes.fromhex(case["answers"])
    expected = Greeting(case["run"], case["round"], session, answers, case["asks"])
    payload = bytes.fromhex(case["payload"])
    assert parse(payload) == expected
    assert greeting(expected) == payload
    with pytest.raises(MessageError, match="greeting"):
        requested(payload)


@pytest.mark.parametrize("case", [case for case in MESSAGES if "run" in case], ids=title)
def test_the_run_of_a_message(case: dict[str, Any]) -> None:
    assert decode(bytes.fromhex(case["payload"])).run == case["run"]


def test_there_are_more_bad_ones_than_good() -> None:
    assert len(REFUSED) > len(MESSAGES) + len(LONG) + len(REQUESTS)
