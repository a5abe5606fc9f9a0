"""The job in decent-dp: every client a process, after every step it mixes with a neighbour on the ring.

    python -m torch.distributed.run --nproc-per-node CLIENTS decent.py JOB.npz ROUNDS

A round is one epoch of every client. The accuracy is the mean of the clients' models.
"""

import sys
import time

import numpy as np
import torch
import torch.distributed as dist
import torch_job as job
from account import began, report
from decent_dp.ddp import DecentralizedDataParallel
from torch.nn import functional as F


def main(path: str, rounds: str) -> None:
    """An epoch a round; rank 0 reports."""
    marks = [began()]
    dist.init_process_group("gloo")
    rank, count = dist.get_rank(), dist.get_world_size()
    net = job.model()
    size = sum(4 * p.numel() for p in net.parameters())
    wrapped = DecentralizedDataParallel(
        net, lambda named: torch.optim.SGD([p for _, p in named], lr=job.RATE), topology="ring"
    )
    x, y = job.client(path, rank)
    random, steps = np.random.default_rng(rank), 0
    for _ in range(int(rounds)):
        for rows in job.batches(len(x), random):
            F.cross_entropy(wrapped(x[rows]), y[rows]).backward()
            steps += 1
        dist.barrier()
        marks.append(time.time())
    total = torch.tensor(job.accuracy(net, path))
    dist.all_reduce(total)
    if rank == 0:
        report(marks, float(total) / count, steps * size)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
