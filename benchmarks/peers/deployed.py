"""What one deployed device takes: two edge-nodes on a broker, and two Flower SuperNodes on a SuperLink, on loopback.

    python -m benchmarks.peers.deployed [--data JOB.npz] [--rounds 5] [--environments FOLDER] [--json OUT.json]

The job of `benchmarks.peers`, its first two clients. Memory is of all processes of a device together at the highest:
an edge-node is one, a SuperNode starts two more for its app. PSS divides shared pages among those who share them, RSS
counts them in each. edge-node runs D-Distillation with 300 reference rows at most; Flower federated averaging.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from pydantic import BaseModel

from benchmarks.peers.__main__ import WORKERS, environment_of, write_job
from benchmarks.peers.tree import Tree
from broker import embedded
from broker.process import free_port
from edge import algorithm
from edge.command import last_line
from edge.errors import ConfigError
from edge.process import single_threaded
from edge_report import delivery
from edge_report.document import Section, fixed, size
from edge_report.finding import Finding, Progress
from edge_report.flags import add_count
from edge_report.specs import CommandSpec
from export import zoo
from export.write import export

TIMEOUT = 300.0
"""seconds for all rounds, or for a server to answer"""


class DeployedRow(BaseModel):
    """One system; the lists have a number a device."""

    name: str
    proportional: list[float]
    resident: list[float]
    processes: int


class Deployed(Finding):
    """Both systems."""

    command: str = "deployed"
    rounds: int
    lines: list[DeployedRow]


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    parser.add_argument("--data", type=Path, metavar="JOB.npz", help="as of benchmarks.peers")
    add_count(parser, "--rounds", 5, "rounds of training")
    parser.add_argument("--environments", type=Path, metavar="FOLDER", help="as of benchmarks.peers")


def run(args: argparse.Namespace, progress: Progress) -> Deployed:
    """See `CommandSpec.run`."""
    with ExitStack() as stack:
        folder = (args.environments or Path(stack.enter_context(tempfile.TemporaryDirectory()))).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        here = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_job(args.data, here / "job.npz", here / "public.npz")
        _first_two(here / "job.npz", here / "public.npz")
        progress(0, 2, "edge-node")
        murmur = _murmur(here, args.rounds)
        progress(1, 2, "Flower")
        flower = _flower(here, environment_of("flower", folder).parent, args.rounds)
    return Deployed(rounds=args.rounds, lines=[murmur, flower])


def _first_two(job: Path, public: Path) -> None:
    """Leave only the first two clients, and little data to evaluate on."""
    with np.load(job) as all_of, np.load(public) as known:
        mine = all_of["client"] < 2
        cut = {k: all_of[k][mine] for k in ("x_train", "y_train", "client")}
        cut |= {k: all_of[k][:200] for k in ("x_test", "y_test")}
        reference = known["x"][:300]
    np.savez(job, **cut)
    np.savez(public, x=reference)


def _murmur(here: Path, rounds: int) -> DeployedRow:
    """Run two edge-nodes."""
    objective = " + ".join(algorithm.load("d-distillation", {}, "settings").objective)
    export(zoo.build("small-cnn:64", shape=(1, 28, 28), classes=10), here / "bundle", objective=objective)
    with embedded.running() as broker, ExitStack() as stack:
        nodes = []
        for name in "ab":
            path = here / f"{name}.toml"
            path.write_text(
                f'fleet = "deployed"\nid = "{name}"\npeers = ["a", "b"]\ntopology = "complete"\n'
                f'protocol = "d-distillation"\nbundle = "{here}/bundle"\nbroker = "{broker.url}"\n'
                f'data = "npz:{here}/job.npz"\nsplit = "by:client"\nreference = "npz:{here}/public.npz"\n'
                f"rounds = {rounds}\n[settings]\nlocal_steps = 19\nlearning_rate = 0.05\n"
            )
            nodes.append(stack.enter_context(_started([str(_beside("edge-node")), "--config", str(path)], {})))
        trees = [stack.enter_context(Tree(node.pid)) for node in nodes]
        for node in nodes:
            if node.wait(TIMEOUT):
                raise ConfigError("an edge-node failed")
    return _line("edge-node", trees)


def _flower(here: Path, programs: Path, rounds: int) -> DeployedRow:
    """Run a SuperLink and two SuperNodes, and send the app to them."""
    app = WORKERS / "app"
    port, ports = free_port(None), [free_port(None) for _ in range(2)]
    home = here / "flower"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "field"\n\n[superlink.field]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    variables = {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "MURMUR_JOB": str(here / "job.npz"),
        "MURMUR_ROUNDS": str(rounds),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(WORKERS), str(app)]),
    }
    with ExitStack() as stack:
        link = [str(programs / "flower-superlink"), "--insecure", "--host", "127.0.0.1", "--port", str(port)]
        stack.enter_context(_started(link, variables))
        _until(lambda: _answers(port), "the SuperLink does not answer")
        nodes = []
        for number, mine in enumerate(ports):
            words = ["--insecure", "--superlink", f"127.0.0.1:{port}", "--host", "127.0.0.1", "--port", str(mine)]
            command = [str(programs / "flower-supernode"), *words, "--node-config", f"partition-id={number}"]
            nodes.append(stack.enter_context(_started(command, variables)))
        _until(lambda: all(map(_answers, ports)), "a SuperNode does not answer")
        trees = [stack.enter_context(Tree(node.pid)) for node in nodes]
        command = [str(programs / "flwr"), "run", str(app), "field", "--stream"]
        done = subprocess.run(
            command, env={**os.environ, **variables}, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
        if done.returncode or not _trained(trees):
            raise ConfigError(f"flwr run failed: {last_line(done.stderr or done.stdout)}")
    return _line("Flower SuperNode", trees)


def _trained(trees: Sequence[Tree]) -> bool:
    """Say whether every SuperNode has started its app."""
    return all(tree.processes >= 3 for tree in trees)


def _line(name: str, trees: Sequence[Tree]) -> DeployedRow:
    return DeployedRow(
        name=name,
        proportional=[tree.proportional for tree in trees],
        resident=[tree.resident for tree in trees],
        processes=max(tree.processes for tree in trees),
    )


@contextmanager
def _started(command: list[str], variables: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program until the block ends."""
    environment = {**single_threaded(), **variables}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _beside(program: str) -> Path:
    return Path(sys.executable).parent / program


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(condition: Callable[[], bool], complaint: str) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise ConfigError(complaint)
        time.sleep(0.2)


def sections(deployed: Deployed) -> list[Section]:
    """Show a table."""
    last = deployed.lines[-1]
    return [
        Section(
            "deployed",
            f"One deployed device, medians of two, {deployed.rounds} rounds",
            columns=("who", "processes", "PSS", "ratio", "RSS", "ratio"),
            rows=[
                (
                    *(line.name, fixed(line.processes, 0)),
                    *(size(median(line.proportional)), fixed(median(line.proportional) / median(last.proportional), 3)),
                    *(size(median(line.resident)), fixed(median(line.resident) / median(last.resident), 3)),
                )
                for line in deployed.lines
            ],
        )
    ]


SPEC = CommandSpec(
    text="Measure what one deployed device takes, beside Flower's.",
    finding=Deployed,
    arguments=arguments,
    run=run,
    sections=sections,
)


if __name__ == "__main__":
    sys.exit(delivery.main("deployed", SPEC))
