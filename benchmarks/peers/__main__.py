"""One job in Murmur and in its peers, each in an environment of its own, in turns.

    python -m benchmarks.peers [--data JOB.npz] [--rounds 20] [--repeats 3] [--environments FOLDER] [--json OUT.json]
                               [--model cnn|mlp] [--clients 10] [--report OUT.html] [NAME ...]

Ten clients, one local epoch a round (batch 32, SGD 0.05), one thread a process: conv 16, conv 32, linear 64, linear 10
(105,866 parameters) on 28x28 images; or, with --model mlp, linear 64, linear 10 (50,890). --clients divides the data
evenly among as many instead. JOB.npz: x, y, client, x_test, y_test, x_pub; without it scikit-learn's digits,
enlarged, in ten Dirichlet(0.5) parts of 100.

    murmur             edge-sim, federated averaging, one process and one thread of work
    murmur-2           the same, two devices at a time
    murmur-distill     edge-sim, D-Distillation on a ring with delta:3: no weights leave a device
    pytorch            a plain loop, federated averaging
    flower             Flower's simulation on Ray, federated averaging, one CPU a client
    decent             decent-dp: a process a client, D-PSGD on a ring, mixing after every step

Client updates a second are clients over the median round; start-up is what the first round took beyond that, from the
start of the command. Memory is of all processes together at the highest: shared pages divided (PSS), or counted in each
(RSS). Bytes are what a client sends, and its share of what a server does, payload only.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from pydantic import BaseModel

from benchmarks.peers.tree import Tree
from edge import data, split
from edge.command import last_line
from edge.errors import ConfigError
from edge.process import single_threaded
from edge_report import delivery
from edge_report.document import Cell, Section, fixed, seconds, size
from edge_report.finding import Finding, Progress
from edge_report.flags import DEFAULT
from edge_report.specs import CommandSpec

WORKERS = Path(__file__).parent / "workers"
CLIENTS = 10
REFERENCE = "flower"
TORCH = ("torch==2.13.0", "numpy")


@dataclass(frozen=True)
class Peer:
    """What takes part.

    Attributes:
        command: after its Python; JOB, PUBLIC and ROUNDS are filled in.
        packages: of its environment; it is this one if there are none.
    """

    command: tuple[str, ...]
    packages: tuple[str, ...] = ()


def _ours(protocol: str, workers: int) -> Peer:
    return Peer(("-m", "benchmarks.peers.murmur", "JOB", "PUBLIC", "ROUNDS", protocol, str(workers)))


PEERS = {
    "murmur": _ours("fedavg", 1),
    "murmur-2": _ours("fedavg", 2),
    "murmur-distill": _ours("d-distillation", 2),
    "pytorch": Peer((str(WORKERS / "loop.py"), "JOB", "ROUNDS"), TORCH),
    "flower": Peer((str(WORKERS / "flower.py"), "JOB", "ROUNDS"), ("flwr[simulation]==1.41.0", *TORCH)),
    "decent": Peer(
        ("-m", "torch.distributed.run", "--nproc-per-node", "10", str(WORKERS / "decent.py"), "JOB", "ROUNDS"),
        ("decent-dp==0.2.3", *TORCH),
    ),
}


Account = dict[str, Any]
"""what a worker reports (`benchmarks.peers.workers.account`)"""


class PeerRow(BaseModel):
    """One peer; the lists have a number a run. Bytes, seconds."""

    name: str
    updates_per_second: list[float]
    startup_seconds: list[float]
    proportional: list[float]
    resident: list[float]
    processes: int
    payload: float
    accuracy: list[float]


class Peers(Finding):
    """All peers, and the job they did."""

    command: str = "peers"
    data: str
    rounds: int
    lines: list[PeerRow]


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    data_help = "x, y, client, x_test, y_test, x_pub (default: digits)"
    parser.add_argument("--data", type=Path, metavar="JOB.npz", help=data_help)
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="rounds of training" + DEFAULT)
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of each, taking turns" + DEFAULT)
    parser.add_argument("--model", choices=("cnn", "mlp"), default="cnn", help="model to train" + DEFAULT)
    clients_help = "divide the data among so many (default: the data's own); not for decent"
    parser.add_argument("--clients", type=int, metavar="N", help=clients_help)
    parser.add_argument(
        "--environments", type=Path, metavar="FOLDER", help="keep the environments here (default: remove them)"
    )
    known = f"one of: {', '.join(PEERS)} (default: all)"
    parser.add_argument("names", nargs="*", metavar="NAME", help=known)


def run(args: argparse.Namespace, progress: Progress) -> Peers:
    """See `CommandSpec.run`."""
    names = args.names or list(PEERS)
    if unknown := sorted(set(names) - PEERS.keys()):
        raise ConfigError(f"unknown peer '{unknown[0]}'; there are: {', '.join(PEERS)}")
    if min(args.rounds, args.repeats) < 1 or args.rounds < 2:
        raise ConfigError(f"--rounds {args.rounds} --repeats {args.repeats}: expected two rounds, and one run, or more")
    with ExitStack() as stack:
        folder = (args.environments or Path(stack.enter_context(tempfile.TemporaryDirectory()))).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        job, public = folder / "job.npz", folder / "public.npz"
        write_job(args.data, job, public, args.clients)
        os.environ["PEERS_MODEL"] = args.model  # for all that are started
        runs: dict[str, list[tuple[Account, Tree]]] = {name: [] for name in names}
        total = len(names) * (1 + args.repeats)
        for done, name in enumerate(names):
            progress(done, total, f"environment of {name}")
            environment_of(name, folder)
        for done, name in enumerate(names * args.repeats, start=len(names)):
            progress(done, total, name)
            runs[name].append(_run(name, folder, job, public, args.rounds))
    return Peers(
        data=f"{args.data.name if args.data else 'digits'}, {args.model}, {args.clients or CLIENTS} clients",
        rounds=args.rounds,
        lines=[_line(name, several, args.clients or CLIENTS) for name, several in runs.items()],
    )


def write_job(source: Path | None, job: Path, public: Path, clients: int | None = None) -> None:
    """Write the archives that all peers read: images (N, 1, 28, 28) float32 from 0 to 1.

    Args:
        source: archive with x, y, client, x_test, y_test, x_pub; digits if absent.
        job: archive to write, with the training and test data.
        public: archive to write, with the reference images.
        clients: divide the data evenly among as many, instead of as the archive does.

    Raises:
        ConfigError: an archive that lacks something, or more clients than rows.
    """
    if source is None:
        digits = data.load("digits", 0)
        reference, private = data.take_reference("300", digits, 0)
        parts = split.divide("dirichlet:0.5", private.y_train[: 100 * CLIENTS], private.columns, CLIENTS, 0)
        client = np.zeros(100 * CLIENTS, np.int64)
        for number, rows in enumerate(parts):
            client[rows] = number
        arrays: dict[str, Any] = {
            "x_train": _enlarged(private.x_train[: len(client)]),
            "y_train": private.y_train[: len(client)],
            "client": client,
            "x_test": _enlarged(private.x_test),
            "y_test": private.y_test,
        }
        reference_images = _enlarged(reference.x)
    else:
        try:
            with np.load(source) as archive:
                images = {name: archive[name][:, None].astype(np.float32) / 255 for name in ("x", "x_test", "x_pub")}
                labels = {name: archive[name].astype(np.int64) for name in ("y", "y_test", "client")}
        except (OSError, ValueError, KeyError) as reason:
            raise ConfigError(f"--data {source}: {reason}; expected x, y, client, x_test, y_test, x_pub") from None
        arrays = {
            "x_train": images["x"],
            "y_train": labels["y"],
            "client": labels["client"],
            "x_test": images["x_test"],
            "y_test": labels["y_test"],
        }
        reference_images = images["x_pub"]
    if clients is not None:
        if not 1 < clients <= len(arrays["client"]):
            raise ConfigError(f"--clients {clients}: expected 2 to {len(arrays['client'])}, the rows there are")
        arrays["client"] = np.arange(len(arrays["client"])) % clients
    np.savez(job, **arrays)
    np.savez(public, x=reference_images)


def _enlarged(x: np.ndarray) -> np.ndarray:
    """Enlarge (N, 1, 8, 8) to (N, 1, 28, 28): every pixel three times, and a margin of two."""
    large = x.repeat(3, axis=2).repeat(3, axis=3)
    return np.pad(large, ((0, 0), (0, 0), (2, 2), (2, 2))).astype(np.float32)


def environment_of(name: str, folder: Path) -> Path:
    """Return the Python of a peer's environment, which is made if there is none yet."""
    packages = PEERS[name].packages
    if not packages:
        return Path(sys.executable)
    home = folder / name
    if not (home / "ready").is_file():
        for command in (
            [sys.executable, "-m", "venv", str(home)],
            [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *packages],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ConfigError(f"the environment of {name} cannot be made: {last_line(done.stderr)}")
        (home / "ready").touch()
    return home / "bin" / "python"


def _run(name: str, folder: Path, job: Path, public: Path, rounds: int) -> tuple[Account, Tree]:
    """Run a peer once; return (the worker's account, what its processes took)."""
    words = {"JOB": str(job), "PUBLIC": str(public), "ROUNDS": str(rounds)}
    command = [str(environment_of(name, folder)), *(words.get(word, word) for word in PEERS[name].command)]
    environment = {**single_threaded(), "FLWR_TELEMETRY_ENABLED": "0"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, env=environment)
        try:
            with Tree(process.pid) as tree:
                code = process.wait()
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        errors.seek(0)
        accounts = [line for line in out.read().splitlines() if line.startswith('{"marks"')]
        if code or not accounts:
            raise ConfigError(f"{name} failed: {last_line(errors.read())}")
    return json.loads(accounts[-1]), tree


def _line(name: str, runs: Sequence[tuple[Account, Tree]], clients: int = CLIENTS) -> PeerRow:
    speeds, starts, accuracies = [], [], []
    for account, _ in runs:
        marks = np.array(account["marks"], np.float64)
        rounds = np.diff(marks)
        speeds.append(clients / float(np.median(rounds[1:])))
        starts.append(float(rounds[0] - np.median(rounds[1:])))
        accuracies.append(float(account["accuracy"]))
    return PeerRow(
        name=name,
        updates_per_second=speeds,
        startup_seconds=starts,
        proportional=[tree.proportional for _, tree in runs],
        resident=[tree.resident for _, tree in runs],
        processes=max(tree.processes for _, tree in runs),
        payload=float(runs[0][0]["payload_bytes"]),
        accuracy=accuracies,
    )


def sections(peers: Peers) -> list[Section]:
    """Show a table; ratios are to the reference, if it took part."""
    of = next((line for line in peers.lines if line.name == REFERENCE), None)
    rows: list[tuple[Cell, ...]] = []
    for line in peers.lines:
        speed, memory = median(line.updates_per_second), median(line.proportional)
        shares: tuple[Cell, ...] = ("", "")
        if of is not None and line is not of:
            shares = (
                fixed(speed / median(of.updates_per_second), 2),
                fixed(memory / median(of.proportional), 3),
            )
        rows.append(
            (
                line.name,
                *(fixed(speed, 1), shares[0], seconds(median(line.startup_seconds)), size(memory), shares[1]),
                *(size(median(line.resident)), size(line.payload), fixed(median(line.accuracy))),
            )
        )
    return [
        Section(
            "peers",
            f"{peers.data}, {peers.rounds} rounds, medians of {len(peers.lines[0].accuracy)} runs",
            columns=("who", "per s", "ratio", "start", "PSS", "ratio", "RSS", "sent", "accuracy"),
            rows=rows,
            after=f"Client updates a second, and memory, beside {REFERENCE}'s.",
            strong=frozenset(i for i, line in enumerate(peers.lines) if line.name.startswith("murmur")),
        )
    ]


SPEC = CommandSpec(
    text="Run one job in Murmur and in its peers, in turns.",
    finding=Peers,
    arguments=arguments,
    run=run,
    sections=sections,
)


def main() -> int:
    """Run the program."""
    return delivery.main("peers", SPEC)


if __name__ == "__main__":
    sys.exit(main())
