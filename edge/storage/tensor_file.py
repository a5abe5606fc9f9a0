"""Files of arrays by name (safetensors) that say something about themselves."""

from pathlib import Path

from safetensors import safe_open

from edge.interfaces import Array


def read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Read the arrays of a file, and its metadata. Raises SafetensorError, OSError: it is damaged, or not there."""
    with safe_open(path, framework="numpy") as file:
        values = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no iterable
        return values, dict(file.metadata() or {})
