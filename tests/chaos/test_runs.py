"""Runs of real processes over a real Mosquitto that keeps what was sent: nothing of another run has any effect."""

import shutil
from pathlib import Path

from edge import cli
from tests.chaos import LONG
from tests.chaos.field import CONFIGURATION, field_of
from tests.waiting import eventually

ROUNDS = 8


def test_a_fleet_that_is_started_anew_gets_nothing_of_the_run_before(tmp_path: Path) -> None:
    """A mistyped learning rate: the fleet is ended, its state wiped, and it starts again with the right one."""
    wrong = CONFIGURATION.replace("learning_rate = 0.2", "learning_rate = 20.0")
    with field_of(tmp_path, rounds=500, common=wrong) as field:
        for node in field.nodes.values():
            node.start()
        eventually(lambda: all(node.round >= ROUNDS for node in field.nodes.values()), 120)
        for node in field.nodes.values():
            node.kill()
        for name in list(field.nodes):
            shutil.rmtree(tmp_path / f"state-{name}")
            field.configure(name, rounds=ROUNDS).start()
        for node in field.nodes.values():
            node.finish()
            assert [row["round"] for row in node.rows] == list(range(1, ROUNDS + 1))
            assert node.rows[-1]["timeouts"] == 0
        runs = {row["run"] for node in field.nodes.values() for row in node.rows}
        assert len(runs) == 1
        assert sum(node.rows[-1].get("refused_run", 0) for node in field.nodes.values()) > 0  # the broker had kept some


if LONG:  # the others wait for a device twice as long as a round may take, before they go on without it

    def test_who_comes_back_for_the_last_round_says_what_it_has_skipped(tmp_path: Path) -> None:
        """The others do not wait for a device that the broker called offline; they stay for it at the end."""
        rounds = 30
        with field_of(tmp_path, rounds=rounds) as field:
            late = field.nodes["d"]
            for node in field.nodes.values():
                node.start()
            eventually(lambda: late.round >= 2, 120)
            late.kill()
            before = late.round
            eventually(lambda: all(field.nodes[name].round == rounds for name in "abc"), 240)
            late.start()
            assert late.process is not None
            assert late.process.wait(120) == cli.SKIPPED
            for reader in late.readers:
                reader.join()
            rows = [int(row["round"]) for row in late.rows if row["round"] > before]
            assert rows[-1] == rounds
            assert len(rows) < rounds - before
            assert any("rounds were skipped" in line for line in late.log)
