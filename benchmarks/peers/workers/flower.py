"""The job in Flower's simulation (Ray, one CPU a client): federated averaging with PyTorch.

python flower.py JOB.npz ROUNDS
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for Ray's workers, too
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])

import numpy as np
import torch_job as job
from account import began, report
from flower_client import trained
from flwr.app import ArrayRecord, Context, Message, MetricRecord
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

PATH, ROUNDS = sys.argv[1], int(sys.argv[2])
MARKS = [began()]
NET = job.model()
client = ClientApp()
server = ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    """A client's epoch."""
    return trained(message, context, PATH, np.random.default_rng())


@server.main()
def main(grid: Grid, _context: Context) -> None:
    """All rounds; evaluated once, after the last."""

    def mark(number: int, arrays: ArrayRecord) -> MetricRecord:
        if number:
            MARKS.append(time.time())
        if number < ROUNDS:
            return MetricRecord()
        NET.load_state_dict(arrays.to_torch_state_dict())
        return MetricRecord({"accuracy": job.accuracy(NET, PATH)})

    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0)
    strategy.start(grid=grid, initial_arrays=ArrayRecord(NET.state_dict()), num_rounds=ROUNDS, evaluate_fn=mark)


if __name__ == "__main__":
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(server, client, job.clients(PATH), backend_config=resources)
    report(MARKS, job.accuracy(NET, PATH), 2 * ROUNDS * sum(4 * v.numel() for v in NET.state_dict().values()))
