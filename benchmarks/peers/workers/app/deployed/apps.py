"""Federated averaging with PyTorch, deployed: what SuperNodes and the SuperLink run. MURMUR_JOB names the archive."""

import os

import numpy as np
import torch_job as job
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

client = ClientApp()
server = ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    """A client's epoch."""
    number = int(context.node_config["partition-id"])
    net = job.model()
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    x, y = job.client(os.environ["MURMUR_JOB"], number)
    loss = job.train(net, x, y, np.random.default_rng(number))
    content = {"arrays": ArrayRecord(net.state_dict()), "metrics": MetricRecord({"num-examples": len(x), "loss": loss})}
    return Message(content=RecordDict(content), reply_to=message)


@server.main()
def main(grid: Grid, _context: Context) -> None:
    """MURMUR_ROUNDS rounds."""
    strategy = FedAvg(fraction_train=1.0, fraction_evaluate=0.0)
    start = ArrayRecord(job.model().state_dict())
    strategy.start(grid=grid, initial_arrays=start, num_rounds=int(os.environ["MURMUR_ROUNDS"]))
