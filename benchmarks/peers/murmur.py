"""The job in Murmur's emulator, in one process.

python -m benchmarks.peers.murmur JOB.npz PUBLIC.npz ROUNDS PROTOCOL WORKERS
"""

import os
import sys
import time

import numpy as np

from benchmarks.peers.workers.account import began, report
from edge_sim.run import Frame, run
from edge_sim.scenario import Scenario

BATCH, RATE = 32, 0.05
MODELS = {"cnn": "zoo:small-cnn:64", "mlp": "zoo:mlp:64"}
SETTINGS = {"d-distillation": {"distillation_weight": 10.0, "reference_batch": 32}}
"""beyond those that all have"""


def main(path: str, public: str, rounds: str, protocol: str, workers: str) -> None:
    """One local epoch a round; evaluated after the first round and the last."""
    marks = [began()]

    def watch(_: Frame) -> None:
        marks.append(time.time())

    with np.load(path) as job:
        clients = int(job["client"].max()) + 1
        epoch = -(-len(job["client"]) // (clients * BATCH))  # of a client of the usual size
    local = {"local_steps": epoch, "batch_size": BATCH, "learning_rate": RATE}
    scenario = Scenario(
        devices=clients,
        topology="ring",
        protocol=protocol,
        data=f"npz:{path}",
        split="by:client",
        reference=f"npz:{public}",
        model=MODELS[os.environ.get("PEERS_MODEL", "cnn")],
        rounds=int(rounds),
        evaluate_every=int(rounds),
        workers=int(workers),
        coding={"soft_labels": "delta:3"},
        settings={protocol: {**local, **SETTINGS.get(protocol, {})}},
    )
    result = run(scenario, watch)
    report(marks, result.mean_accuracy, result.payload_bytes_total / len(result.devices))


if __name__ == "__main__":
    main(*sys.argv[1:])
