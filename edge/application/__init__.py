"""Murmur inside somebody's application: learn in a fleet, or train one model without.

    Node         a device of a fleet that learns in the background from what the application observes
    Trainer      the training step with data, schedules, early stopping and checkpoints

Examples:
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from export import zoo
    >>> from export.write import export
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = export(zoo.build("mlp:8", shape=(2,), classes=2), folder / "bundle")
    >>> trainer = Trainer(folder / "bundle", learning_rate=0.5)
    >>> x = np.array([[0, 1], [1, 0]] * 20)
    >>> rows = trainer.fit(x, x[:, 0], epochs=20, batch_size=8)
    >>> trainer.evaluate(x, x[:, 0])["accuracy"]
    1.0
    >>> trainer.save(folder / "model.onnx")

They stand on the same engine, protocols and checkpoints as `edge-node`.
"""

from edge.application.node import Node
from edge.application.trainer import Trainer

__all__ = ["Node", "Trainer"]
