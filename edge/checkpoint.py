"""What a device resumes from: its parameters, its protocol's state, and the messages it may still be asked for.

Arrays are named PART/NAME, where PART is "engine", "protocol" or "post" (the mailbox, under the name it had in
version 1 of the format, so that checkpoints of earlier releases load).
"""

from collections.abc import Mapping
from pathlib import Path

from edge.errors import ConfigError, EngineError
from edge.interfaces import Array, Engine, Protocol
from edge.messaging.mailbox import Mailbox
from edge.storage import checkpoint_files

MAILBOX = "post"


def gather(engine: Engine, protocol: Protocol, mailbox: Mailbox) -> dict[str, Array]:
    """Return the state after a round, as arrays by name."""
    parts = {"engine": engine.state(), "protocol": protocol.state(), MAILBOX: mailbox.state()}
    return {f"{part}/{k}": v for part, values in parts.items() for k, v in values.items()}


def restore(values: Mapping[str, Array], engine: Engine, protocol: Protocol, mailbox: Mailbox) -> None:
    """Put back what `gather` returned. Raises EngineError, KeyError, ValueError: it is of another model or protocol."""
    engine.load_state(_of(values, "engine/"))
    protocol.load_state(_of(values, "protocol/"))
    mailbox.load_state(_of(values, f"{MAILBOX}/"))


def write(folder: Path, number: int, engine: Engine, protocol: Protocol, mailbox: Mailbox) -> None:
    """Write the state after round `number`. Raises ConfigError: the folder cannot be written."""
    checkpoint_files.write(folder, number, gather(engine, protocol, mailbox))


def resume(folder: Path, engine: Engine, protocol: Protocol, mailbox: Mailbox) -> int:
    """Put back the newest checkpoint.

    Returns:
        Its round; 0 if there is none.

    Raises:
        ConfigError: it is of another model or protocol.
    """
    newest = checkpoint_files.read(folder)
    if newest is None:
        return 0
    number, values = newest
    try:
        restore(values, engine, protocol, mailbox)
    except (EngineError, KeyError, ValueError) as reason:
        raise ConfigError(
            f"the checkpoint in {folder} is of another model or protocol ({reason}); remove it or name another folder"
        ) from None
    return number


def _of(values: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
