"""TFLite's interpreter, from whichever package is installed."""

from typing import Any

from edge.errors import BundleError, EngineError


def interpreter(path: str, threads: int = 1) -> Any:
    """An interpreter over a file.

    Raises:
        EngineError: neither ai-edge-litert nor tflite-runtime is installed. BundleError: it cannot load the file.
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
        # Signatures of tflite-runtime 2.14 run without its fast kernels unless this came first: 8.3 ms instead of 7.1.
        opened.allocate_tensors()
        return opened
    except (RuntimeError, ValueError) as reason:
        raise BundleError(f"TFLite cannot load {path}: {str(reason).splitlines()[0]}") from None
