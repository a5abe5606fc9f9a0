"""`edge-bench`: claims of papers and protocols against one another, measured.

reproduce    the pass/fail list of every system, over seeds
protocols    all protocols on one job, on equal terms
"""

import os

for _pool in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_pool, "1")  # read when the libraries load, so before anything else
