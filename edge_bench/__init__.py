"""`edge-bench`: measurements, each with its method and its check; the commands are in `edge_bench.commands`."""

import os

for _pool in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_pool, "1")  # read when the libraries load, so before anything else
