"""Read an ONNX file whole, with the weights that lie beside it."""

from pathlib import Path

import onnx

from export.errors import ExportError


def read(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Args:
        path: the file; external data lies beside it.

    Returns:
        The model, all its tensors in memory.

    Raises:
        ExportError: the file is missing, not ONNX, corrupt, or its external data is.
    """
    if not path.is_file():
        raise ExportError(f"no ONNX file at {path}")
    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as reason:  # protobuf's DecodeError, missing external data, ... have no common base
        brief = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
        raise ExportError(
            f"{path} is not a readable ONNX file ({brief}); it may be cut short: export it again"
        ) from None
    for tensor in proto.graph.initializer:
        where = next((e.value for e in tensor.external_data if e.key == "location"), None)
        if where and not (path.parent / where).is_file():
            raise ExportError(
                f"{path} keeps '{tensor.name}' in '{where}', which is not beside it; copy it there, "
                "or export the model with its weights inside"
            )
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except Exception as reason:  # onnx raises what its C++ side does
        raise ExportError(f"{path}: its external data cannot be read: {str(reason).splitlines()[0]}") from None
    return proto
