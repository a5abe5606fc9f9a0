"""Whose state a checkpoint holds, and what a device does with another one's."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import checkpoint
from edge.checkpoint import Owner
from edge.errors import ConfigError
from edge.interfaces import Array
from edge.kinds import SOFT_LABELS
from edge.messaging.inbox import Inbox
from edge.messaging.mailbox import Mailbox
from edge.messaging.run_identity import RunIdentity, label
from edge.storage import checkpoint_files
from edge.transports.memory import Network

OWNER = Owner("a", "orchard", "0123456789abcdef")


class Part:
    """An engine, or a protocol, as far as a checkpoint knows it."""

    def __init__(self) -> None:
        self.values: dict[str, Array] = {"w": np.zeros(2, np.float32)}

    def state(self) -> dict[str, Array]:
        return self.values

    def load_state(self, values: dict[str, Array]) -> None:
        self.values = values


def parts(run: int) -> tuple[Any, Any, Mailbox]:
    inbox = Inbox({"b": (SOFT_LABELS.format(bytes(8), (1, 1)),)}, RunIdentity(run))
    return Part(), Part(), Mailbox(Network("f").attach("a"), inbox, {}, lambda: 0.0)


def test_a_device_goes_on_in_the_run_of_its_checkpoint(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, 7, *parts(900), OWNER)
    engine, protocol, mailbox = parts(0)
    assert checkpoint.resume(tmp_path, engine, protocol, mailbox, OWNER) == 7
    assert mailbox.identity.run == 900


@pytest.mark.parametrize(
    "changes", [{"device": "b"}, {"fleet": "meadow"}, {"model": "0000000000000000"}], ids=lambda c: next(iter(c))
)
def test_what_is_of_another_device_fleet_or_model_is_refused(changes: dict[str, str], tmp_path: Path) -> None:
    checkpoint.write(tmp_path, 7, *parts(900), replace(OWNER, **changes))
    (key, value), engine = next(iter(changes.items())), Part()
    with pytest.raises(ConfigError, match=f"of {key} {value}, this one is of {key}.*--fresh"):
        checkpoint.resume(tmp_path, engine, *parts(0)[1:], OWNER)  # type: ignore[arg-type]
    assert list(engine.values) == ["w"]


def test_what_is_of_another_run_than_the_settings_name_is_refused(tmp_path: Path) -> None:
    checkpoint.write(tmp_path, 7, *parts(900), OWNER)
    with pytest.raises(ConfigError, match=f"of run {label(900)}, the settings name run {label(7)}"):
        checkpoint.resume(tmp_path, *parts(7), OWNER)


def test_if_none_is_whole_they_are_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Else the first checkpoint of the new start would be the oldest, and be removed."""
    home = tmp_path / "state"
    for number in (8, 9):
        checkpoint.write(home, number, *parts(900), OWNER)
    for path in home.glob("round-*"):
        path.write_bytes(path.read_bytes()[:-1])
    assert checkpoint.resume(home, *parts(0), OWNER) == 0
    assert "round 1 begins" in caplog.records[-1].getMessage()
    checkpoint.write(home, 1, *parts(7), OWNER)
    newest = checkpoint_files.newest(home)
    assert newest is not None
    assert newest.number == 1
    assert len(list((tmp_path / "state.before").glob("round-*"))) == 2


def test_one_of_an_earlier_release_is_taken_with_a_notice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from safetensors.numpy import save_file

    values = {"engine/w": np.ones(2, np.float32), "protocol/w": np.ones(2, np.float32)}
    save_file(values, tmp_path / "round-00000004.safetensors", metadata={"version": "1", "round": "4"})
    engine, protocol, mailbox = parts(0)
    assert checkpoint.resume(tmp_path, engine, protocol, mailbox, OWNER) == 4
    assert mailbox.identity.run == 0  # it looks for one
    assert "earlier release" in caplog.records[-1].getMessage()
