"""What the devices of an emulation have learnt, as files: `edge-sim --save FOLDER`.

FOLDER/ID.onnx           the trained model of a device, with plain inputs and outputs (docs/application.md)
FOLDER/ID.safetensors    its parameters by name: a STATE for `edge-export trained FOLDER/bundle STATE`
FOLDER/bundle            what they were trained with; of fleets of several models FOLDER/bundle-ID of each device
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from safetensors.numpy import save as tensors

from edge.application import saved_model
from edge.errors import ConfigError
from edge.interfaces import DEVICE
from edge.storage import atomic
from edge_sim.fleet import EmulatedNode
from edge_sim.rounds import ReportedNode
from edge_sim.scenario import Scenario


def require(scenario: Scenario, folder: Path) -> None:
    """Check before the run that models can be saved. Raises ConfigError."""
    if scenario.on_ray:
        raise ConfigError(f"--save {folder}: the models of devices on Ray stay there; run it without Ray")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--save {folder}: it is there already; name a new folder, or empty it")


def save(nodes: Sequence[ReportedNode], folder: Path) -> None:
    """Write the models of all devices. Raises ConfigError: the folder cannot be written."""
    devices = [node for node in nodes if isinstance(node, EmulatedNode) and node.role == DEVICE and node.bundle]
    several = len({node.bundle.path for node in devices if node.bundle}) > 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for node in devices:
            assert node.bundle is not None
            parameters = node.engine.parameters()
            saved_model.save(node.bundle, parameters, folder / f"{node.id}.onnx")
            atomic.write_bytes(folder / f"{node.id}.safetensors", tensors(parameters))
            copy = folder / (f"bundle-{node.id}" if several else "bundle")
            if not copy.exists():
                shutil.copytree(node.bundle.path, copy)
    except OSError as reason:
        raise ConfigError(f"--save {folder}: {reason.strerror or reason}") from None
