"""TFLite's interpreter, from whichever package is installed: for the engine `tflite` and for frozen backbones."""

from typing import Any

from edge.errors import BundleError, EngineError


def interpreter(path: str, threads: int = 1) -> Any:
    """Open a .tflite file.

    Args:
        path: the file.
        threads: for one operator.

    Returns:
        An `Interpreter` of ai-edge-litert or tflite-runtime, with its tensors allocated.

    Raises:
        EngineError: neither package is installed.
        BundleError: it cannot load the file.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError:
            raise EngineError(
                ".tflite files need ai-edge-litert or tflite-runtime: pip install 'murmur-edge[tflite]'"
            ) from None
    try:
        opened = Interpreter(path, num_threads=threads)
        # Without this call, signatures of tflite-runtime 2.14 run without its fast kernels: 8.3 ms instead of 7.1.
        opened.allocate_tensors()
        return opened
    except (RuntimeError, ValueError) as reason:
        raise BundleError(f"TFLite cannot load {path}: {str(reason).splitlines()[0]}") from None
