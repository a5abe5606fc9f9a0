"""ONNX Runtime's training package without PyTorch, which the package's `__init__` would import.

The engine `ort-training` and the exporter's training artifacts both need it.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from edge.errors import EngineError


def open_package() -> None:
    """Make `onnxruntime.training.api` and `.artifacts` importable, with an empty package as their parent.

    Raises:
        EngineError: the `onnxruntime` of this environment is not the training package.
    """
    try:
        import onnxruntime  # noqa: TID251 - only looked at
        from onnxruntime.capi import _pybind_state  # noqa: TID251

        onnxruntime.set_default_logger_severity(3)
        home = Path(onnxruntime.__file__).parent / "training"
        if not home.is_dir() or not hasattr(_pybind_state, "CheckpointState"):
            raise ImportError
    except ImportError:
        raise EngineError(
            "ort-training needs onnxruntime-training-cpu in place of onnxruntime (x86-64 Linux, macOS or Windows, "
            "Python up to 3.12): make an environment with murmur-edge[ort-training]"
        ) from None
    if "onnxruntime.training" not in sys.modules:
        bare: Any = ModuleType("onnxruntime.training")
        bare.__path__ = [str(home)]
        for name in ("PropagateCastOpsStrategy", "TrainingParameters", "is_ortmodule_available"):
            if hasattr(_pybind_state, name):
                setattr(bare, name, getattr(_pybind_state, name))
        sys.modules["onnxruntime.training"] = bare
