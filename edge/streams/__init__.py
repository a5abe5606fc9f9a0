"""Streams: where samples come from while a node runs, one file a kind (`edge.specs.StreamSpec`).

    csv:PATH?label=NAME      a table that grows          jsonl:PATH               lines of JSON that are appended
    folder:PATH              files that are put there    stdin                    the same from standard input
    mqtt:TOPIC?broker=URL    messages of sensors         python:MODULE:FUNCTION   what a generator yields

What a stream has read is kept together with where it goes on, in one transaction, so that after a crash nothing is lost
or kept twice. What is lost all the same, each file says.

>>> STREAMS.names()
['csv', 'folder', 'jsonl', 'mqtt', 'python', 'stdin']
"""

from edge.plugins import Family
from edge.specs import StreamSpec

__all__ = ["STREAMS", "parse"]
STREAMS = Family("edge.streams", StreamSpec, "stream", "murmur.streams")


def parse(setting: str) -> tuple[StreamSpec, str]:
    """Return what a setting names, "NAME" or "NAME:ARGUMENT", and the argument. Raises ConfigError: no such stream."""
    name, _, argument = setting.partition(":")
    return STREAMS.load(name), argument
