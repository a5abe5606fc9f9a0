"""A scikit-learn network as skl2onnx writes it. Run by `make sources`, in an environment of its own.

python sklearn_models.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

digits = load_digits()
x = digits.data.astype(np.float32) / 16
model = MLPClassifier((32,), max_iter=5, random_state=0).fit(x, digits.target)
proto = to_onnx(model, x[:1], options={"zipmap": False}, target_opset=18)
(Path(sys.argv[1]) / "sklearn-mlp.onnx").write_bytes(proto.SerializeToString())
