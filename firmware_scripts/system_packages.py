"""Whether this machine has the system's packages that a command needs, asked before the command begins.

    python -m firmware_scripts.system_packages [PURPOSE ...] [--list]

prints the one `apt-get install` line of what is missing, and exits with 2; with --list it prints every package's name.
Without a purpose it means all of them. `system-packages.toml` has the purposes. Runs without any Python package.
"""

import argparse
import os
import shutil
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from edge.errors import ConfigError

FILE = Path(__file__).with_name("system-packages.toml")


def packages(*purposes: str) -> dict[str, list[str]]:
    """Read the packages of some purposes, or of all.

    Args:
        purposes: names of tables in `system-packages.toml`.

    Returns:
        Package -> the programs, or absolute paths, that are there where it is installed.

    Raises:
        ConfigError: there is no such purpose.
    """
    tables: dict[str, dict[str, list[str]]] = tomllib.loads(FILE.read_text())
    if unknown := [purpose for purpose in purposes if purpose not in tables]:
        raise ConfigError(f"no purpose '{unknown[0]}'; there are: {', '.join(tables)}")
    return {name: shows for purpose in purposes or tables for name, shows in tables[purpose].items()}


def program(name: str) -> str | None:
    """Find a program of the system, also where only root's PATH looks."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def missing(*purposes: str) -> list[str]:
    """Packages of these purposes (or of all) that this machine lacks."""
    return [name for name, shows in packages(*purposes).items() if not all(map(_there, shows))]


def require(*purposes: str) -> None:
    """Refuse to begin what would fail later.

    Raises:
        ConfigError: something is missing; it names the packages in one command that installs them.
    """
    if names := missing(*purposes):
        raise ConfigError(f"missing on this machine: apt-get install --no-install-recommends {' '.join(names)}")


def _there(shown: str) -> bool:
    return Path(shown).exists() if shown.startswith("/") else program(shown) is not None


def main(words: Sequence[str] | None = None) -> int:
    """Check, or list."""
    parser = argparse.ArgumentParser(prog="system_packages", description="The system's packages that commands need.")
    parser.add_argument("purposes", nargs="*", metavar="PURPOSE", help="default: all")
    parser.add_argument("--list", action="store_true", help="print the names of all packages instead of checking")
    args = parser.parse_args(words)

    try:  # `edge.command.guarded` does this for other commands; it imports packages that are not installed yet
        if args.list:
            print(" ".join(packages(*args.purposes)))
        else:
            require(*args.purposes)
    except ConfigError as reason:
        print(f"system_packages: error: {reason}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
