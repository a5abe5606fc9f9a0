"""How much memory a process and all its descendants take together, sampled while they run. Linux."""

import threading
from dataclasses import dataclass, field

from edge import process

EVERY = 0.1
"""seconds between samples"""


@dataclass
class Tree:
    """The most memory that a process and its descendants have had so far, in bytes.

    Attributes:
        pid: of the process.
        proportional: pages that several processes share are divided among them (PSS).
        resident: they count in each (RSS), as most tools add them up.
        processes: the most at the same time.
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
            family = process.descendants(self.pid)
            sizes = [size for pid in family if (size := memory(pid))]
            self.processes = max(self.processes, len(sizes))
            self.resident = max(self.resident, sum(rss for rss, _ in sizes))
            self.proportional = max(self.proportional, sum(pss for _, pss in sizes))


def memory(pid: int) -> tuple[int, int] | None:
    """Return the (resident, proportional) bytes of a process; none if it has ended."""
    try:
        sizes = process.mapped(pid)
    except OSError:
        return None
    return sizes["Rss"], sizes["Pss"]
