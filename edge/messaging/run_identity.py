"""Which run of its fleet a device takes part in, and which life of the device this is.

A *run* begins when a fleet starts without any state, and lasts as long as one of its devices keeps some. Its number is
in every message (docs/wire.md) and in the checkpoints, so that what a broker has kept of another run is refused. A
*session* is one life of a device's process; who is asked which run it is in answers with the asker's session, so that
no answer that a broker has kept for a former life is taken for a present one.
"""

import hashlib
import secrets
from dataclasses import dataclass, field

from edge.codec import SESSION

EMULATED = 1
"""the run of fleets that live in one process, and cannot receive anything of another one"""


@dataclass
class RunIdentity:
    """run: its number, 0 while the device is in none yet (`edge.messaging.joining`). session: drawn for this life."""

    run: int = EMULATED
    session: bytes = field(default_factory=lambda: secrets.token_bytes(SESSION))


def label(run: int) -> str:
    """Write a run as people read it.

    >>> label(0x5f3a9c01)
    '5f3a9c01'
    """
    return f"{run:08x}"


def drawn() -> int:
    """Draw the number of a new run."""
    return secrets.randbelow(2**32 - 1) + 1


def named(fleet: str, name: str) -> int:
    """The number of a run that the operator has named, the same on every device.

    >>> label(named("orchard", "spring"))
    '8abd52da'
    """
    digest = hashlib.sha256(f"{fleet}/{name}".encode()).digest()
    return int.from_bytes(digest[:4], "little") or 1
