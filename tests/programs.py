"""Programs of the system that a test runs: they may be missing on somebody's machine, but not where CI runs."""

import os
import shutil

import pytest


def program_or_skip(name: str) -> str:
    """Where it is."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} must be installed where CI runs")
        pytest.skip(f"{name} is not on this machine")
    return found
