"""How much memory a process and all its descendants take together, sampled while they run. Linux."""

import threading
from dataclasses import dataclass, field
from pathlib import Path

EVERY = 0.1
"""seconds between samples"""


@dataclass
class Tree:
    """Of one process. The most seen so far, in bytes.

    proportional: pages that several share are divided among them (PSS). resident: they count in each (RSS), as most
    tools add them up. processes: the most at the same time.
    """

    pid: int
    proportional: int = 0
    resident: int = 0
    processes: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Tree":
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            family = descendants(self.pid)
            sizes = [size for pid in family if (size := memory(pid))]
            self.processes = max(self.processes, len(sizes))
            self.resident = max(self.resident, sum(rss for rss, _ in sizes))
            self.proportional = max(self.proportional, sum(pss for _, pss in sizes))


def descendants(pid: int) -> list[int]:
    """The process and all that it and they have started, of those that run."""
    found, to_ask = [], [pid]
    while to_ask:
        now = to_ask.pop()
        found.append(now)
        for listed in Path(f"/proc/{now}/task").glob("*/children"):
            try:
                to_ask += map(int, listed.read_text().split())
            except OSError:
                continue
    return found


def memory(pid: int) -> tuple[int, int] | None:
    """(resident, proportional) bytes; none if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return None
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return sizes["Rss"], sizes["Pss"]
