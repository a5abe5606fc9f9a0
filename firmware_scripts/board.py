"""What is particular to a board: one file of `boards/` each, named by `--board`."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from edge.config import checked, read_toml
from edge.errors import ConfigError

FOLDER = Path(__file__).parent / "boards"
LOADERS = 16 << 20
"""Bytes before the first partition, for loaders that lie outside of partitions."""


class BoardSpec(BaseModel):
    """See boards/rpi4.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    compatible: list[str] = Field(min_length=1)
    """what the board's own device tree says it is (`/proc/device-tree/compatible`)"""
    suite: str
    """of Debian"""
    kernel: str = "linux-image-arm64"
    """package; with /SUITE from another one"""
    python: str = "3.11"
    """the suite's"""
    console: str
    """serial line: Linux's name, and baud"""
    device_tree: str = ""
    """among the kernel's, for boards whose firmware brings none"""
    boot: dict[str, str] = {}
    """file of the first partition -> file of the packages; kernel/ stands for the kernel's device trees"""
    text: dict[str, str] = {}
    """file of the first partition -> what is in it"""
    raw: dict[int, str] = {}
    """byte of the card -> file of the packages"""


def names() -> list[str]:
    """Return the names of all boards."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> BoardSpec:
    """Read a board's file. Raises ConfigError: there is none, or it is not valid."""
    path = FOLDER / f"{name}.toml"
    if not path.is_file():
        raise ConfigError(f"--board {name}: there are: {', '.join(names())}; add one with a file in {FOLDER.name}/")
    board = checked(BoardSpec, read_toml(path), str(path))
    if bad := [at for at in board.raw if at % 512 or not 512 <= at < LOADERS]:
        raise ConfigError(f"{path}: raw: {bad[0]} is not a multiple of 512 between 512 and {LOADERS}")
    return board
