"""The job in a plain loop of PyTorch: federated averaging in one process, nothing around it.

python loop.py JOB.npz ROUNDS
"""

import copy
import sys
import time

import numpy as np
import torch
import torch_job as job
from account import began, report


def main(path: str, rounds: str) -> None:
    """Average, round by round."""
    marks = [began()]
    net, count = job.model(), job.clients(path)
    data = [job.client(path, i) for i in range(count)]
    randoms = [np.random.default_rng(i) for i in range(count)]
    whole = copy.deepcopy(net.state_dict())
    for _ in range(int(rounds)):
        total = {key: torch.zeros_like(value) for key, value in whole.items()}
        for (x, y), random in zip(data, randoms, strict=True):
            net.load_state_dict(whole)
            job.train(net, x, y, random)
            for key, value in net.state_dict().items():
                total[key] += value * len(x)
        whole = {key: value / sum(len(x) for x, _ in data) for key, value in total.items()}
        marks.append(time.time())
    net.load_state_dict(whole)
    report(marks, job.accuracy(net, path), 2 * int(rounds) * sum(4 * v.numel() for v in whole.values()))


if __name__ == "__main__":
    main(*sys.argv[1:])
