"""All that a device resumes from: its parameters, what its protocol holds, and what it may still be asked for."""

from collections.abc import Mapping
from pathlib import Path

from edge.errors import ConfigError, EngineError
from edge.interfaces import Array, Engine, Protocol
from edge.messaging.mailbox import Mailbox
from edge.storage import checkpoint_files


def gather(engine: Engine, protocol: Protocol, mailbox: Mailbox) -> dict[str, Array]:
    """The state after a round, as arrays by name."""
    parts = {"engine": engine.state(), "protocol": protocol.state(), "post": mailbox.state()}
    return {f"{part}/{k}": v for part, values in parts.items() for k, v in values.items()}


def restore(values: Mapping[str, Array], engine: Engine, protocol: Protocol, mailbox: Mailbox) -> None:
    """Put back what `gather` gave. Raises EngineError, KeyError, ValueError: it is of something else."""
    engine.load_state(_of(values, "engine/"))
    protocol.load_state(_of(values, "protocol/"))
    mailbox.load_state(_of(values, "post/"))


def write(folder: Path, number: int, engine: Engine, protocol: Protocol, mailbox: Mailbox) -> None:
    """Keep the state after round `number`. Raises ConfigError if the folder takes no files."""
    checkpoint_files.write(folder, number, gather(engine, protocol, mailbox))


def resume(folder: Path, engine: Engine, protocol: Protocol, mailbox: Mailbox) -> int:
    """Put back the newest checkpoint; returns its round, 0 if there is none. Raises ConfigError: it does not fit."""
    found = checkpoint_files.read(folder)
    if found is None:
        return 0
    number, values = found
    try:
        restore(values, engine, protocol, mailbox)
    except (EngineError, KeyError, ValueError) as reason:
        raise ConfigError(
            f"the checkpoint in {folder} is of another model or protocol ({reason}); remove it or name another folder"
        ) from None
    return number


def _of(values: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
