"""Noise, temperature, aggregation rules and attacks change what is sent or heard, or are refused; of every protocol."""

import sys
from dataclasses import fields
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from edge import cli as node_cli
from edge.errors import ConfigError
from edge.privacy import NOISES
from edge.protocols import PROTOCOLS
from edge.robust import AGGREGATIONS
from edge_bench import cli as bench_cli
from edge_sim import Scenario, run
from edge_sim import cli as sim_cli
from edge_sim.attacks import ATTACKS
from tests import payloads
from tests.fleets import fleet
from tests.refusals import refusal

CASES = list(dict.fromkeys((name, str(case.settings)) for name, case in payloads.cases()))
"""Every protocol, with all settings with which it sends something else."""
# `agreement` is the default, or changes nothing where all agree: tests/edge/test_robust.py.
SUBTLE = ("drift", "extreme", "targeted")
"""attacks that may leave the first rounds, or a few bits, as they are; `tests/edge/test_robust.py` has them"""
CHANGES: dict[str, dict[str, Any]] = {
    **{f"noise {name}": {"privacy": {"noise": f"{name}:0.3"}} for name in NOISES.names()},
    "temperature": {"privacy": {"temperature": 3.0}},
    **{
        f"aggregation {name}": {"aggregation": {"similarity": "similarity:0.99999999"}.get(name, name)}
        for name in AGGREGATIONS.names()
        if name not in ("mean", "agreement")
    },
    **{f"byzantine {name}": {"byzantine": f"{name}:1"} for name in ATTACKS.names() if name not in SUBTLE},
}


def sent(protocol: str, settings: dict[str, Any], **changes: Any) -> list[tuple[str, str, bytes]]:
    """(receiver, kind, payload) of four rounds: what is heard in the second shows at the latest in the fourth."""
    messages: list[tuple[str, str, bytes]] = []
    base = {"devices": 4, "topology": "complete", "rounds": 4, "reference": "20"}
    base |= {"split": "iid" if "data" in payloads.scenario(protocol) else "classes:6"}
    if "weighting" in {setting.name for setting in fields(PROTOCOLS.load(protocol).settings)}:
        settings = {"local_steps": 20, **settings}  # after a few, weighted opinions are all but abstentions
    with TemporaryDirectory() as folder, fleet(Path(folder), protocol, settings=settings, **base, **changes) as whole:
        for device in whole.devices:
            send = device.transport.send

            def noted(receiver: str, kind: str, payload: bytes, send: Any = send) -> None:
                messages.append((receiver, kind, payload))
                send(receiver, kind, payload)

            device.transport.send = noted  # type: ignore[method-assign]
        for _ in whole.rounds():
            pass
    return messages


@cache
def plain(protocol: str, settings: str) -> list[tuple[str, str, bytes]]:
    return sent(protocol, eval(settings))


@pytest.mark.parametrize("setting", CHANGES)
@pytest.mark.parametrize(("protocol", "settings"), CASES)
def test_a_setting_changes_something_or_is_refused(protocol: str, settings: str, setting: str) -> None:
    try:
        changed = sent(protocol, eval(settings), **CHANGES[setting])
    except ConfigError as reason:
        line = str(reason)
        assert line.startswith(setting.split()[0])  # it names the setting,
        assert protocol in line  # the protocol, and what to do
        assert "leave it out" in line
        assert "\n" not in line
        return
    assert changed != plain(protocol, settings)


APPLIED = {
    ("d-distillation", "noise gaussian"),
    ("d-distillation", "aggregation median"),
    ("multi-headed-distillation", "temperature"),
    ("federated-distillation", "byzantine random"),
    ("federated-distillation", "noise laplace"),
    ("compressed-federated-distillation", "noise gaussian"),
    ("compressed-federated-distillation", "aggregation similarity"),
    ("compressed-federated-distillation", "byzantine label-flip"),
}


@pytest.mark.parametrize(("protocol", "setting"), sorted(APPLIED))
def test_what_can_apply_is_not_refused(protocol: str, setting: str) -> None:
    sent(protocol, {}, **CHANGES[setting])


@pytest.mark.parametrize("setting", ["noise gaussian", "temperature", "byzantine label-flip", "byzantine random"])
def test_running_sums_are_made_of_what_is_said_instead(setting: str) -> None:
    """The distributions are changed before they go into push-sum's totals."""
    sent("d-distillation", {"mixing": "push-sum"}, **CHANGES[setting])


@pytest.mark.parametrize(
    ("protocol", "settings", "setting", "line"),
    [
        (
            "d-psgd",
            {},
            "noise gaussian",
            "noise 'gaussian:0.3' applies to distributions over the classes; with these settings d-psgd sends weights "
            "(model weights), to which it does not: leave it out, or choose another protocol",
        ),
        (
            "isolated",
            {},
            "temperature",
            "temperature 3: devices of isolated send nothing that it could apply to; leave it out",
        ),
        (
            "multi-headed-distillation",
            {"embedding_weight": 0.5},
            "noise laplace",
            "sends features (features or logits of samples), to which it does not",
        ),
        (
            "d-distillation",
            {"mixing": "push-sum"},
            "aggregation median",
            "sends mass (counts, sums",
        ),
        (
            "compressed-federated-distillation",
            {"up_bits": 1},
            "temperature",
            "in 1 bit sends the most likely class and nothing else, which no temperature changes",
        ),
        ("faug", {}, "noise gaussian", "sends samples (samples)"),
    ],
)
def test_the_line(protocol: str, settings: dict[str, Any], setting: str, line: str) -> None:
    with pytest.raises(ConfigError) as reason:
        sent(protocol, settings, **CHANGES[setting])
    assert line in str(reason.value)


def test_one_bit_has_no_temperature() -> None:
    with pytest.raises(ConfigError, match="temperature 3: d-distillation in 1 bit"):
        sent("d-distillation", {}, coding={"soft_labels": "simplex:1"}, **CHANGES["temperature"])


LINE = "noise 'gaussian:0.3' applies to distributions over the classes; with these settings fedavg sends weights"


def test_from_python() -> None:
    with pytest.raises(ConfigError, match=LINE[:40]):
        run(Scenario(protocol="fedavg", devices=2, rounds=1, privacy={"noise": "gaussian:0.3"}))


def test_by_edge_sim(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--protocol", "fedavg", "--rounds", "1", "--noise", "gaussian:0.3"]
    assert LINE in refusal(sim_cli.main, "edge-sim", words, monkeypatch, capsys)
    both = [*words[2:], "--compare", "fedavg"]  # what it is compared with is asked for, too
    assert LINE in refusal(sim_cli.main, "edge-sim", both, monkeypatch, capsys)


def test_by_edge_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study.toml"
    study.write_text('protocol = "fedavg"\nrounds = 1\n[variants.noisy]\nprivacy = {noise = "gaussian:0.3"}\n')
    assert LINE in refusal(bench_cli.main, "edge-bench", ["sweep", study], monkeypatch, capsys)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ('[privacy]\nnoise = "gaussian:0.3"', LINE),
        ("[privacy]\ntemperature = 2.0", "temperature 2 applies to distributions over the classes"),
        ('aggregation = "median"', "aggregation 'median' applies to distributions over the classes"),
    ],
)
def test_by_edge_node(
    keys: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "node.toml"
    config.write_text(f'id = "a"\npeers = ["a", "b"]\nbundle = "bundle"\nprotocol = "fedavg"\n{keys}\n')
    assert line in refusal(node_cli.main, "edge-node", ["--config", config], monkeypatch, capsys)
    assert line in refusal(node_cli.main, "edge-node", ["tune", "--config", config], monkeypatch, capsys)
    assert sys.argv[1] == "tune"
