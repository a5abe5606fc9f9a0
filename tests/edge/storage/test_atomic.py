"""Files that are written whole or not at all."""

import os
from pathlib import Path

from edge.storage import atomic


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    """As /dev/null must stay what it is, under root too."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        atomic.write_text(pipe, "text")
        assert os.read(reader, 10) == b"text"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
