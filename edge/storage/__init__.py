"""Files that survive power cuts: atomic files and folders, checkpoints, the metrics log; and digests of files.

>>> import tempfile
>>> from pathlib import Path
>>> import numpy as np
>>> from edge.storage import checkpoint_files
>>> folder = Path(tempfile.mkdtemp())
>>> checkpoint_files.write(folder, 7, {"weight": np.zeros(3, np.float32)})
>>> number, arrays = checkpoint_files.read(folder)
>>> number, arrays["weight"].shape
(7, (3,))
"""
