"""Trained parameters from what a node, a `Trainer` or somebody else has left on disk."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from edge import bundle as names
from edge.application import fitting
from edge.bundle import Bundle
from edge.errors import BundleError, ConfigError
from edge.interfaces import Array
from edge.storage import checkpoint_files

PREFIXES = (fitting.BEST, fitting.TRAINER + names.PARAMETER, "engine/" + names.PARAMETER, names.PARAMETER, "")
"""what stands before a parameter's name: in a Trainer's checkpoint, a node's, an engine's state, and nowhere"""


def parameters(bundle: Bundle, state: Path) -> dict[str, Array]:
    """Read trained parameters.

    Args:
        bundle: the model.
        state: the folder of a node's checkpoints, or of a `Trainer`'s, of which the best epoch counts; or a file of
            either, or one of parameters by name (safetensors).

    Returns:
        All parameters of the model, by name.

    Raises:
        ConfigError: there is no state, or it cannot be read. BundleError: it is of another model.
    """
    values = _values(state)
    table = bundle.manifest.parameters
    for prefix in PREFIXES:
        if all(prefix + p.name in values for p in table):
            chosen = {p.name: values[prefix + p.name] for p in table}
            break
    else:
        raise BundleError(
            f"{state} is of another model than {bundle.path}: it has no value of some parameter, e.g. "
            f"{next(p.name for p in table if not any(prefix + p.name in values for prefix in PREFIXES))}"
        )
    for p in table:
        if chosen[p.name].shape != p.shape or chosen[p.name].dtype != p.dtype:
            value = chosen[p.name]
            raise BundleError(
                f"{state} is of another model than {bundle.path}: parameter {p.name} is {value.dtype} "
                f"{list(value.shape)}, expected {p.dtype} {list(p.shape)}"
            )
    return chosen


def _values(state: Path) -> dict[str, Array]:
    if not state.is_dir():
        try:
            return dict(load_tensors(state.read_bytes()))
        except (OSError, SafetensorError) as reason:
            raise ConfigError(f"{state} is neither a folder of checkpoints nor a safetensors file: {reason}") from None
    newest = checkpoint_files.read(state)
    if newest is None:
        raise ConfigError(f'{state} has no checkpoint that can be read; run edge-node with checkpoint = "{state.name}"')
    return newest[1]
