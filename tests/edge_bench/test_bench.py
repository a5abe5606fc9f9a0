"""edge-bench: its arithmetic, its tables, and what it writes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge import plugins
from edge_bench import cli, ntk
from edge_bench.claims import ClaimData, Setting, fedgkt, systems
from edge_bench.claims.dynamic_averaging import ROUNDS, transfers
from edge_bench.commands.reproduce import ClaimReport
from edge_bench.measurements.protocols import ProtocolRow, optimal
from edge_report.finding import environment, mean, spread
from edge_sim.run import run
from edge_sim.scenario import Scenario
from tests.refusals import refusal
from tests.waiting import eventually

DIGITS = ClaimData("digits", 10, size=1347, shape=(1, 8, 8))


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edge-bench", *arguments])
    return cli.main()


def test_every_setting_is_a_possible_scenario() -> None:
    for data in (DIGITS, ClaimData("npz:none.npz", 6, ("user",))):
        for system in systems().values():
            assert system.title
            for setting in system.settings(data).values():
                assert isinstance(setting, Setting)
                scenario = Scenario(**setting.scenario)
                scenario.algorithm(scenario.protocol)
    assert set(systems()) == set(plugins.names("edge_bench.claims"))


def test_linear_models_reach_the_closed_forms() -> None:
    """Seo et al. 2020 (neural tangent kernel); see edge_bench.ntk."""
    for seed in range(3):
        lazy = ntk.measure(seed, devices=2 + seed)
        assert max(lazy.teacher_error, lazy.fixed_point_error) < 1e-6
        assert lazy.mean_rate == pytest.approx(1, abs=0.01)
        assert lazy.difference_rate == pytest.approx(1, abs=0.01)


def test_published_counts_of_fedgkt() -> None:
    counts = fedgkt.published()
    assert [c["parameters"] for c in counts.values()] == [10_586, 591_322, 1_147_738]
    assert counts["gkt-edge"]["macs"] == 9_618_048


def test_transfers_are_whole_models() -> None:
    """What is left of the payload after the control messages is a whole number of models, twice those balanced."""
    system = systems(["dynamic-averaging"])["dynamic-averaging"]
    scenario = {**system.settings(DIGITS)["dynamic"].scenario, "rounds": 20, "evaluate_every": 20}
    scenario["data"] = "margin-stream:20010:20:2:0.5"
    result = run(Scenario(**scenario))
    balanced = sum(r.metrics["coordinator/balanced"] for r in result.rounds)
    assert balanced > 0
    assert transfers(result, 1, 20) == 2 * balanced
    assert transfers(result, 1, 10) + transfers(result, 11, 20) == 2 * balanced
    assert ROUNDS > 20


def line(name: str, accuracy: float, payload: float) -> ProtocolRow:
    names = ("accuracy_worst", "accuracy_own", "wire_bytes", "messages", "macs")
    zero: dict[str, Any] = dict.fromkeys(names, 0)
    return ProtocolRow(
        protocol=name,
        settings={},
        accuracy_all=accuracy,
        by_seed=[accuracy],
        payload_bytes=payload,
        memory={},
        pareto=False,
        **zero,
    )


def test_pareto() -> None:
    lines = [
        line("pooled", 1.0, 1), line("isolated", 0.1, 0), line("a", 0.9, 10), line("b", 0.8, 20), line("c", 0.95, 30),
        line("d", 0.9, 10),
    ]  # fmt: skip
    assert [x.protocol for x in lines if optimal(x, lines)] == ["a", "c", "d"]


def test_figures_for_people() -> None:
    assert spread([0.5, 0.5]) == "0.500"
    assert spread([0.5, 0.6]) == "0.550 (0.500 to 0.600)"
    assert mean([1.0, 2.0]) == 1.5
    here = environment()
    assert here.cores >= 1
    assert here.packages["numpy"]


def test_reproduce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One system, one seed: the table, the file, the picture."""
    out = tmp_path / "out.json"
    arguments = ["federated-distillation", "--seeds", "0", "--workers", "1", "--plots", str(tmp_path / "plots")]
    assert call(monkeypatch, "reproduce", *arguments, "--json", str(out)) == 0
    printed = capsys.readouterr().out
    report = ClaimReport.model_validate_json(out.read_text())
    rows = {row.claim: row for row in report.rows}
    assert set(rows) == {f"F{i}" for i in range(1, 8)} | {"F6 (links)"}
    for exact in ("F1", "F2", "F5", "F7"):
        assert rows[exact].verdict == "holds"
    assert rows["F5"].figures["bits"] == 102_400  # Jeong et al. 2018, Table 1: 32 x 3,200
    assert "claims hold" in printed
    picture = (tmp_path / "plots" / "federated-distillation.svg").read_text()
    assert picture.count("<svg") == 1
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def costs_are_closed_forms(lines: dict[str, Any]) -> int:
    """Work and memory in two rounds of three steps of 32 rows; the multiply-accumulates of a row in a step."""
    # a step of an MLP 64-8-10: forward and both gradients of two products, but none for the first one's input
    forward, step = 64 * 8 + 8 * 10, 3 * (64 * 8 + 8 * 10) - 64 * 8
    assert lines["isolated"]["macs"] == 2 * 3 * 32 * step
    assert lines["federated-distillation"]["macs"] == 2 * 3 * 32 * (step + forward)
    parameters = 64 * 8 + 8 + 8 * 10 + 10
    assert lines["isolated"]["memory"]["parameters"] == 2 * 4 * parameters
    assert lines["isolated"]["memory"]["batch"] == 32 * (4 * 64 + 8) + 2 * 4  # rows, labels, two scalars
    return step


def test_protocols_side_by_side(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rounds", "2", "--devices", "3", "--model", "zoo:mlp:8", "--workers", "2", "--local-steps", "3"]
    assert call(monkeypatch, "protocols", *arguments, "--json", "-") == 0
    printed = capsys.readouterr()
    comparison = json.loads(printed.out)
    lines = {x["protocol"]: x for x in comparison["lines"]}
    assert set(lines) | set(comparison["left_out"]) == set(plugins.names("edge.protocols"))
    assert set(comparison["left_out"]) == {"fedgkt", "federated-reinforcement-distillation"}
    assert "say where" in comparison["left_out"]["fedgkt"]
    step = costs_are_closed_forms(lines)
    assert lines["d-psgd"]["curve"][-1]["payload_bytes"] == lines["d-psgd"]["payload_bytes"]
    assert lines["fedavg"]["curve"][-1]["consensus_distance"] == pytest.approx(0, abs=1e-6)
    assert lines["isolated"]["curve"][-1]["consensus_distance"] > 0.01
    layers = {layer["name"]: layer["macs"] for layer in comparison["layers"]}
    assert layers["hidden1.weight"]["weight gradient"] == 2 * 32 * 64 * 8
    assert comparison["dearest"] in ("d-distillation", "compressed-federated-distillation", "multi-headed-distillation")
    assert comparison["distillation_macs"] >= 32 * step
    assert comparison["edges"] == [["device-0", "device-1"], ["device-0", "device-2"], ["device-1", "device-2"]]
    assert lines["isolated"]["payload_bytes"] == 0
    assert lines["d-psgd"]["wire_bytes"] > lines["d-psgd"]["payload_bytes"] > 0
    assert "federated-" in printed.err


BAD = [
    (["reproduce", "--seeds", "1,1"], "--seeds 1,1: expected different numbers from 0"),
    (["reproduce", "--seeds", "x"], "--seeds x: expected"),
    (["reproduce", "gossip"], "unknown claim 'gossip'; there are: d-distillation, dynamic-averaging"),
    (["reproduce", "--workers", "0"], "--workers 0: expected 1 or more"),
    (["reproduce", "--data", "npz:none.npz"], "none.npz cannot be read"),
    (["protocols", "--json", "no/folder/x.json"], "there is no folder no/folder"),
    (["protocols", "--protocols", "gossip"], "unknown protocol 'gossip'"),
    (["protocols", "--protocols", "fedgkt"], "split_at: fedgkt cuts the model in two"),
    (["protocols", "--devices", "1"], "devices: Input should be greater than or equal to 2 (got 1)"),
    (["protocols", "--split", "classes:99", "--protocols", "isolated", "--workers", "1"], "only 10 classes"),
]


@pytest.mark.parametrize(("arguments", "complaint"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_bad_input_is_one_line(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    line = refusal(cli.main, "edge-bench", arguments, monkeypatch, capsys)
    assert line.startswith("edge-bench: error: ")
    assert complaint in line
    assert list(tmp_path.iterdir()) == []


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_workers_end_with_whoever_started_them(tmp_path: Path) -> None:
    """Killed outright, the command leaves no process behind."""
    command = [str(Path(sys.executable).parent / "edge-bench"), "reproduce", "dynamic-averaging", "--seeds", "0"]
    process = subprocess.Popen([*command, "--workers", "2"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.fail("this test reads /proc, which Linux has")

    def workers() -> list[int]:
        pids = [int(pid) for pid in children.read_text().split()]
        return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    eventually(lambda: len(workers()) == 2)
    started = workers()
    process.kill()
    process.wait()
    eventually(lambda: not any(map(alive, started)))
