"""A small fleet in the field: real edge-node processes, a real Mosquitto on loopback, and hands on the switches."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from broker import mosquitto
from broker.process import Running, free_port, running
from edge import algorithm
from edge.process import single_threaded
from export import zoo
from export.write import export

NAMES = ("a", "b", "c", "d")
COMMAND = Path(sys.executable).parent / "edge-node"

CONFIGURATION = """\
fleet = "field"
peers = ["a", "b", "c", "d"]
topology = "ring"
data = "digits"
split = "classes:4"
protocol = "d-distillation"
[settings]
local_steps = 10
learning_rate = 0.2
reinitialise_every = 10
[coding]
soft_labels = "delta:15"
"""


@dataclass
class Node:
    """One device's process, and the rows it has printed so far, over all its lives."""

    name: str
    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    process: "subprocess.Popen[str] | None" = None
    readers: list[threading.Thread] = field(default_factory=list)

    @property
    def round(self) -> int:
        """The last that it has finished."""
        return int(self.rows[-1]["round"]) if self.rows else 0

    def start(self, **limits: Any) -> None:
        """A new life, from the checkpoint."""
        environment = single_threaded()
        self.process = subprocess.Popen(
            [COMMAND, "--config", self.path, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            **limits,
        )
        for stream, keep in ((self.process.stdout, self._row), (self.process.stderr, self.log.append)):
            assert stream is not None
            reader = threading.Thread(target=_pump, args=(stream, keep), daemon=True)
            reader.start()
            self.readers.append(reader)

    def kill(self) -> None:
        """SIGKILL, wherever it is."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def finish(self, seconds: float = 240) -> None:
        """Wait for its last round; it must have ended well."""
        assert self.process is not None
        code = self.process.wait(seconds)
        for reader in self.readers:
            reader.join()
        assert code == 0, "".join(self.log)

    def _row(self, line: str) -> None:
        self.rows.append(json.loads(line))


def _pump(stream: IO[str], keep: Callable[[str], None]) -> None:
    with stream:
        for line in stream:
            keep(line)


@dataclass
class Field:
    """The fleet. port: of the broker."""

    folder: Path
    port: int
    nodes: dict[str, Node]
    stack: ExitStack
    broker: Running | None = None

    def start_broker(self) -> None:
        """Mosquitto, with sessions that survive it, as far as it has saved them."""
        conf = self.folder / "mosquitto.conf"
        lines = mosquitto.configuration(self.port).replace("persistence false", "persistence true")
        conf.write_text(f"{lines}persistence_location {self.folder}/\nautosave_interval 1\n")
        program = mosquitto.program()
        assert program is not None, "CI installs it"
        self.broker = self.stack.enter_context(running("mosquitto", [program, "-c", str(conf)], self.port))

    def kill_broker(self) -> None:
        """SIGKILL: nothing is saved."""
        assert self.broker is not None
        os.kill(self.broker.pid, signal.SIGKILL)

    def configure(self, name: str, *, common: str = CONFIGURATION, **changes: Any) -> Node:
        """Write a device's file: its own keys, and what all have in common."""
        own = {
            "id": name,
            "bundle": "bundle",
            "broker": f"mqtt://127.0.0.1:{self.port}",
            "checkpoint": f"state-{name}",
            **changes,
        }
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in own.items())
        path = self.folder / f"{name}.toml"
        path.write_text(lines + common)
        self.nodes[name] = Node(name, path)
        return self.nodes[name]


@contextmanager
def field_of(folder: Path, **settings: Any) -> Iterator[Field]:
    """Four devices, configured and not yet started; a broker that runs. What runs at the end is ended."""
    objective = " + ".join(algorithm.load("d-distillation", {}, "settings").objective)
    export(zoo.build("mlp:32", shape=(1, 8, 8), classes=10), folder / "bundle", objective=objective)
    with ExitStack() as stack:
        fleet = Field(folder, free_port(None), {}, stack)
        fleet.start_broker()
        for name in NAMES:
            fleet.configure(name, **settings)
        try:
            yield fleet
        finally:
            for node in fleet.nodes.values():
                if node.process is not None and node.process.poll() is None:
                    node.kill()
                for reader in node.readers:
                    reader.join()
