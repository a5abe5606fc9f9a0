"""What every command does alike: one line for what went wrong, and an exit code."""

import sys
from collections.abc import Callable

from edge.errors import MurmurError


def last_line(text: str) -> str:
    """Of what a program said as it failed: where most say why."""
    return (text.strip().splitlines() or ["no word why"])[-1]


def guarded(name: str, body: Callable[[], int]) -> int:
    """Run a command's body. 2: something the user can put right; 130: interrupted."""
    try:
        return body()
    except MurmurError as reason:
        line = " ".join(str(reason).split())
        print(f"{name}: error: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        sys.stderr.close()
        return 0
