"""The job in PyTorch, as its peers run it: model, a client's epoch, evaluation. Needs torch and NumPy only."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

BATCH, RATE = 32, 0.05


def model(seed: int = 0) -> torch.nn.Module:
    """conv 16, pool, conv 32, pool, linear 64, linear 10: 105,866 parameters; or, if PEERS_MODEL says mlp, 50,890."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    if os.environ.get("PEERS_MODEL") == "mlp":
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(28 * 28, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
        )
    return torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
        *(torch.nn.Conv2d(16, 32, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)),
        *(torch.nn.Flatten(), torch.nn.Linear(32 * 7 * 7, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)),
    )


def client(path: str, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a client's images and labels."""
    with np.load(path) as job:
        mine = job["client"] == number
        return torch.from_numpy(job["x_train"][mine]), torch.from_numpy(job["y_train"][mine])


def clients(path: str) -> int:
    """Count the clients."""
    with np.load(path) as job:
        return int(job["client"].max()) + 1


def batches(rows: int, random: np.random.Generator) -> Sequence[torch.Tensor]:
    """Divide one shuffled epoch into batches."""
    return torch.from_numpy(random.permutation(rows)).split(BATCH)


def train(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, random: np.random.Generator) -> float:
    """One epoch of SGD; the mean loss."""
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    losses = []
    for rows in batches(len(x), random):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


def accuracy(net: torch.nn.Module, path: str) -> float:
    """Return the accuracy on the test images."""
    with np.load(path) as job, torch.no_grad():
        predicted = torch.cat([net(part).argmax(1) for part in torch.from_numpy(job["x_test"]).split(500)])
        return float((predicted == torch.from_numpy(job["y_test"])).float().mean())
