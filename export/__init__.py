"""The exporter: from an ONNX model to a training step of standard operators. Runs on a workstation.

>>> import tempfile
>>> from pathlib import Path
>>> from export import zoo
>>> from export.write import export
>>> with tempfile.TemporaryDirectory() as folder:
...     bundle = export(zoo.build("mlp:16", shape=(1, 8, 8), classes=10), Path(folder) / "mlp")
>>> bundle.manifest.optimizer, bundle.manifest.objective, bundle.manifest.size
('sgd', ('cross_entropy',), 1210)
"""
