"""How ONNX operators are written with TFLite's, one family a file.

>>> from export.tflite.lower import OPERATORS
>>> OPERATORS["Conv"].__module__, "GRU" in OPERATORS
('export.tflite.operators.convolution', False)
"""

from importlib import import_module
from pkgutil import iter_modules

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
