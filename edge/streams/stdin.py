"""Lines of JSON from standard input, `stdin`, each as `edge.payload` takes it: `sensor | edge-node --config node.toml`.

A line is on disk before the next one is read. What a crash finds in the pipe is lost with it, so a sender that cannot
have that writes to a file (`jsonl`). Standard input that is a file is refused for the same reason: after a crash it
would be read again.
"""

import os
import select
import stat
import sys
from collections.abc import Iterator, Mapping

from edge.errors import ConfigError, DataError
from edge.payload import StreamItem
from edge.specs import StreamSpec
from edge.streams._tail import CHUNK, LONGEST
from edge.streams.jsonl import parsed


def follow(argument: str, _: Mapping[str, str], shape: tuple[int, ...]) -> Iterator[StreamItem | None]:
    """Read standard input to its end. argument: none. See `StreamSpec.open`."""
    if argument:
        raise ConfigError(f"stream 'stdin:{argument}': expected stdin alone")
    if stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode):
        raise ConfigError("stream 'stdin': standard input is a file; name it, as in jsonl:PATH")
    return _arrivals(sys.stdin.fileno(), shape)


def _arrivals(descriptor: int, shape: tuple[int, ...]) -> Iterator[StreamItem | None]:
    rest = b""
    while True:
        if not select.select([descriptor], [], [], 0)[0]:
            yield None
            continue
        content = os.read(descriptor, CHUNK)
        *lines, rest = (rest + (content or b"\n")).split(b"\n")
        for line in lines:
            yield parsed(line, shape, {})
        if not content:
            return
        if len(rest) > LONGEST:
            raise DataError(f"standard input has a line of more than {LONGEST} bytes")


SPEC = StreamSpec(open=follow)
