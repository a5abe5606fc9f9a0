"""Programs of the system that a test runs: they may be missing on somebody's machine, but not where CI runs."""

import os

import pytest

from firmware_scripts import system_packages


def program_or_skip(name: str) -> str:
    """Find a program of a package in `firmware_scripts/system-packages.toml`."""
    package = next(package for package, shows in system_packages.packages().items() if name in shows)
    path = system_packages.program(name)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} must be installed where CI runs: apt-get install {package}")
        pytest.skip(f"{name} is not on this machine: apt-get install {package}")
    return path
