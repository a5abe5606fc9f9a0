"""Federated averaging with PyTorch, deployed: what SuperNodes and the SuperLink run. MURMUR_JOB names the archive."""

import os

import numpy as np
import torch_job as job
from flower_client import trained
from flwr.app import ArrayRecord, Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

client = ClientApp()
server = ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    """A client's epoch."""
    return trained(message, context, os.environ["MURMUR_JOB"], np.random.default_rng())


@server.main()
def main(grid: Grid, _context: Context) -> None:
    """MURMUR_ROUNDS rounds."""
    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0)
    start = ArrayRecord(job.model().state_dict())
    strategy.start(grid=grid, initial_arrays=start, num_rounds=int(os.environ["MURMUR_ROUNDS"]))
