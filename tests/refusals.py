"""Commands that refuse: exit code 2 and one line."""

import sys
from collections.abc import Callable, Iterable

import pytest


def refusal(
    main: Callable[[], int],
    command: str,
    words: Iterable[object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Call a command with `words`, check that it refuses, and return its line."""
    monkeypatch.setattr(sys, "argv", [command, *map(str, words)])
    assert main() == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line
