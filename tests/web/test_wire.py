"""The wire in JavaScript: every golden vector, and the bytes of Python's encoder."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import codec
from edge.codec import HEADER, Request, decode, encode, join, parse, request
from edge.interfaces import Message
from tests.vectors.make_wire import PATH
from tests.web.programs import node

SCRIPT = Path(__file__).with_name("wire.mjs")
CASES: list[dict[str, Any]] = json.loads(PATH.read_text())
MESSAGES = [case for case in CASES if "values" in case]
REFUSED = [case for case in CASES if "refused" in case]
LONG = [case for case in CASES if "headers" in case]
GREETINGS = [case for case in CASES if "session" in case]
REQUESTS = [case for case in CASES if "payload" in case and case not in MESSAGES + REFUSED + GREETINGS]
WRITTEN = ("simplex:8", "simplex:4", "simplex:2", "simplex:1", "float32")
NOT_READ = ("deflate8",)
"""docs/languages.md says so"""


@pytest.fixture
def calls(tmp_path: Path) -> Any:
    """Carry out calls in JavaScript, and return what each gave."""

    def carried_out(wanted: list[dict[str, Any]]) -> list[Any]:
        (tmp_path / "calls.json").write_text(json.dumps(wanted))
        results: list[Any] = json.loads(node(SCRIPT, tmp_path / "calls.json"))
        assert len(results) == len(wanted)
        return results

    return carried_out


def test_every_message_is_read(calls: Any) -> None:
    place = {case["title"]: i for i, case in enumerate(MESSAGES)}
    bases = [[place[name] for name in case.get("bases", [])] for case in MESSAGES]
    wanted = [
        {"call": "decode", "payloads": [case["payload"]], "bases": base}
        for case, base in zip(MESSAGES, bases, strict=True)
    ]
    messages: list[Message] = []
    for case, base, message in zip(MESSAGES, bases, calls(wanted), strict=True):
        expected = join([decode(bytes.fromhex(case["payload"]))], [messages[i] for i in base])
        messages.append(expected)
        for key in ("kind", "round", "digest"):
            assert message[key] == case[key], case["title"]
        assert message["run"] == case.get("run")
        assert (message["rows"], message["columns"]) == expected.values.shape
        np.testing.assert_allclose(
            message["values"], expected.values.ravel(), rtol=1e-6, atol=1e-9, err_msg=case["title"]
        )


def test_every_coding_has_a_vector_but_those_that_are_named() -> None:
    assert {case["coding"] for case in MESSAGES} == set(codec.names()) - set(NOT_READ)
    for name in NOT_READ:
        assert f"`{name}`" in (Path(__file__).parents[2] / "docs" / "languages.md").read_text()


def test_every_bad_payload_is_refused_for_the_same_reason(calls: Any) -> None:
    results = calls([{"call": "decode", "payloads": [case["payload"]]} for case in REFUSED])
    for case, outcome in zip(REFUSED, results, strict=True):
        assert re.search(case["refused"], outcome["refused"]), case["title"]


def test_what_is_written_is_what_python_writes(calls: Any) -> None:
    cases = [case for case in MESSAGES if case["coding"] in WRITTEN]
    assert {case["coding"] for case in cases} == set(WRITTEN)
    for case, payloads in zip(cases, calls([{"call": "encode", **case} for case in cases]), strict=True):
        assert payloads == [case["payload"]], case["title"]


def test_many_rows_are_rounded_as_python_rounds_them(calls: Any) -> None:
    random = np.random.default_rng(11)
    wanted, expected = [], []
    for columns in (2, 3, 7, 8, 9, 10, 17, 100, 129, 300):
        flat = 1 / columns + 1e-3 * random.standard_normal((20, columns))
        values = np.vstack([random.dirichlet(np.full(columns, 0.3), 60), flat]).astype(np.float32)
        for coding in WRITTEN[:4]:
            message = Message("soft-labels", 5, bytes(range(8)), values)
            expected.append([payload.hex() for payload in encode(message, coding, run=7)])
            words = {"kind": "soft-labels", "round": 5, "digest": message.digest.hex(), "coding": coding, "run": 7}
            wanted.append({"call": "encode", **words, "values": values.tolist()})
    assert calls(wanted) == expected


def test_a_message_of_two_chunks(calls: Any) -> None:
    (case,) = LONG
    values = np.zeros(case["shape"], np.float32)
    bodies = [bytes(int.from_bytes(bytes.fromhex(head)[32:36], "little")) for head in case["headers"]]
    payloads = [head + body.hex() for head, body in zip(case["headers"], bodies, strict=True)]
    read, written, half = calls(
        [
            {"call": "decode", "payloads": payloads[::-1]},
            {"call": "encode", **case, "values": values.tolist()},
            {"call": "decode", "payloads": payloads[1:]},
        ]
    )
    assert (read["rows"], read["columns"], set(read["values"])) == (*case["shape"], {0})
    assert [payload[: 2 * HEADER] for payload in written] == case["headers"]
    assert "1 chunks do not make one message of 2" in half["refused"]


def test_requests_and_greetings(calls: Any) -> None:
    cases = GREETINGS + REQUESTS
    for case, words in zip(cases, calls([{"call": "parse", "payload": c["payload"]} for c in cases]), strict=True):
        assert words["type"] == ("greeting" if case in GREETINGS else "request")
        for key in case.keys() - {"title", "payload"}:
            assert words[key] == case[key], case["title"]
    digest = bytes(range(8))
    wanted = [{"call": "greeting", **case} for case in GREETINGS]
    wanted += [{"call": "request", "digest": "0123456789abcdef", **case} for case in REQUESTS]
    wanted.append(
        {"call": "request", "kind": "weights", "round": 3, "digest": digest.hex(), "missing": [0, 4], "count": 9}
    )
    results = calls(wanted)
    assert results[:-1] == [case["payload"] for case in cases]
    assert bytes.fromhex(results[-1]) == request("weights", 3, digest, (0, 4), 9)
    assert parse(bytes.fromhex(results[-1])) == Request("weights", 3, (0, 4), 9)
