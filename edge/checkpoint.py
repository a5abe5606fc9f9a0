"""What a device resumes from: its parameters, its protocol's state, and the messages it may still be asked for.

Arrays are named PART/NAME, where PART is "engine", "protocol" or "post" (the mailbox, under the name it had in
version 1 of the format, so that checkpoints of earlier releases load).
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.errors import ConfigError, EngineError
from edge.interfaces import Array, Engine, NodeId, Protocol
from edge.messaging.mailbox import Mailbox
from edge.messaging.run_identity import label
from edge.storage import checkpoint_files
from edge.storage.checkpoint_files import Checkpoint

MAILBOX = "post"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owner:
    """Whose state a checkpoint holds. model: digest of its parameter table, in hexadecimal."""

    device: NodeId
    fleet: str
    model: str

    def refusal(self, facts: Mapping[str, str]) -> str | None:
        """What a checkpoint's facts say otherwise."""
        for key, mine in asdict(self).items():
            if facts.get(key, mine) != mine:
                return f"it is of {key} {facts[key]}, this one is of {key} {mine}"
        return None


def gather(engine: Engine, protocol: Protocol, mailbox: Mailbox) -> dict[str, Array]:
    """Return the state after a round, as arrays by name."""
    parts = {"engine": engine.state(), "protocol": protocol.state(), MAILBOX: mailbox.state()}
    return {f"{part}/{k}": v for part, values in parts.items() for k, v in values.items()}


def restore(values: Mapping[str, Array], engine: Engine, protocol: Protocol, mailbox: Mailbox) -> None:
    """Put back what `gather` returned. Raises EngineError, KeyError, ValueError: it is of another model or protocol."""
    engine.load_state(_of(values, "engine/"))
    protocol.load_state(_of(values, "protocol/"))
    mailbox.load_state(_of(values, f"{MAILBOX}/"))


def write(
    folder: Path, number: int, engine: Engine, protocol: Protocol, mailbox: Mailbox, owner: Owner | None = None
) -> None:
    """Write the state after round `number`. Raises ConfigError: the folder cannot be written."""
    facts = {**(asdict(owner) if owner else {}), "run": label(mailbox.identity.run)}
    checkpoint_files.write(folder, number, gather(engine, protocol, mailbox), facts)


def resume(folder: Path, engine: Engine, protocol: Protocol, mailbox: Mailbox, owner: Owner | None = None) -> int:
    """Put back the newest checkpoint that is whole; the mailbox takes part in its run from then on.

    If none is whole, they are set aside, and the device begins anew.

    Returns:
        Its round; 0 if there is none.

    Raises:
        ConfigError: it is of another device, fleet, run, model or protocol.
    """
    newest = checkpoint_files.newest(folder)
    if newest is None:
        if checkpoint_files.exist(folder):
            _log.warning("no checkpoint in %s is whole: they are now in %s.before, and round 1 begins", folder, folder)
            checkpoint_files.set_aside(folder)
        return 0
    number, values = newest.number, newest.values
    _take_run(newest, folder, mailbox, owner)
    try:
        restore(values, engine, protocol, mailbox)
    except (EngineError, KeyError, ValueError) as reason:
        raise ConfigError(
            f"the checkpoint in {folder} is of another model or protocol ({reason}); remove it or name another folder"
        ) from None
    return number


def _take_run(newest: Checkpoint, folder: Path, mailbox: Mailbox, owner: Owner | None) -> None:
    """Raises ConfigError: the checkpoint is of another device, fleet, model or run."""
    if not newest.facts:
        _log.warning(
            "the checkpoint in %s is of an earlier release: it does not say of which run and device it is", folder
        )
        return
    run, identity = int(newest.facts["run"], 16), mailbox.identity
    refusal = owner.refusal(newest.facts) if owner else None
    if owner and identity.run not in (0, run):
        refusal = refusal or f"it is of run {label(run)}, the settings name run {label(identity.run)}"
    if refusal:
        raise ConfigError(
            f"the checkpoint in {folder} is not to be used here: {refusal}; name another folder, or begin with --fresh"
        )
    identity.run = run


def _of(values: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
