"""What a command says when it refuses: exit code 2, and one line."""

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
    """Call it with these words; its line."""
    monkeypatch.setattr(sys, "argv", [command, *map(str, words)])
    assert main() == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said
