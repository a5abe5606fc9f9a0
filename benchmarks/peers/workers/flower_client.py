"""A client's epoch as a Flower client takes it, emulated or deployed."""

import numpy as np
import torch_job as job
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict


def trained(message: Message, context: Context, path: str, random: np.random.Generator) -> Message:
    """The reply: the weights after an epoch on the data of the client that the context names."""
    net = job.model()
    net.load_state_dict(message.content["arrays"].to_torch_state_dict())
    x, y = job.client(path, int(context.node_config["partition-id"]))
    loss = job.train(net, x, y, random)
    content = {"arrays": ArrayRecord(net.state_dict()), "metrics": MetricRecord({"num-examples": len(x), "loss": loss})}
    return Message(content=RecordDict(content), reply_to=message)
