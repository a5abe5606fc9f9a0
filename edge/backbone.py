"""A frozen backbone: a .tflite file, int8 as a rule, that turns every sample into features, once.

What a bundle with a backbone trains is the small head behind it. The private samples, the reference set and the test
set go through the backbone when they are loaded; from there on a "sample" is a row of features.

Features are standardised by the reference set's mean and deviation, which all devices have: those of a network with
ReLUs are all positive and of any size, and a linear head on them needs a rate of its own for every backbone (digits,
8 devices of 4 classes each, softmax regression, rate 0.3: 0.33 mean accuracy as they come, 0.91 standardised).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import BACKBONE, Backbone, Bundle
from edge.engines._interpreter import interpreter
from edge.errors import DataError
from edge.interfaces import Array, Floats
from edge.reference import ReferenceSet

SMALLEST = 1e-6
"""added to deviations: a feature that never moves stays zero"""


def featured(
    bundle: Bundle, reference: ReferenceSet, samples: Sequence[Array], threads: int = 1
) -> tuple[ReferenceSet, list[Array]]:
    """The reference set and samples as the bundle's model takes them; as they are, if it has no backbone.

    The reference set keeps its name, which is of the samples.

    Raises:
        DataError: samples of another shape. BundleError: the file cannot be loaded.
    """
    backbone = bundle.manifest.backbone
    if backbone is None:
        return reference, list(samples)
    public, *own = (features(bundle.path / BACKBONE, backbone, x, threads) for x in (reference.x, *samples))
    mean, deviation = public.mean(axis=0), public.std(axis=0) + SMALLEST
    return replace(reference, x=(public - mean) / deviation), [(rows - mean) / deviation for rows in own]


def features(path: Path, backbone: Backbone, x: Array, threads: int = 1) -> Floats:
    """Features (n, F) of samples (n, *backbone.shape) float32 between 0 and 1, channels first.

    Raises:
        DataError: samples of another shape. BundleError: the file cannot be loaded.
    """
    if x.shape[1:] != backbone.shape:
        raise DataError(f"{path.name} takes samples of {list(backbone.shape)}; the data has {list(x.shape[1:])}")
    runtime = interpreter(str(path), threads)
    given, made = runtime.get_input_details()[0], runtime.get_output_details()[0]
    low, high = backbone.range
    images = np.moveaxis(x, 1, -1) if x.ndim == 4 else x
    found = np.empty((len(x), int(np.prod(made["shape"][1:]))), np.float32)
    for i, image in enumerate(images):
        runtime.set_tensor(given["index"], _quantised(low + (high - low) * image[None], given))
        runtime.invoke()
        found[i] = _real(runtime.get_tensor(made["index"]), made).reshape(-1)
    return found


def _quantised(values: Array, tensor: dict[str, Any]) -> Array:
    """Numbers as the tensor holds them: q = x / scale + zero point, within its type."""
    if tensor["dtype"] == np.float32:
        return values.astype(np.float32)
    scale, zero = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    whole: Array = np.clip(np.round(values / scale + zero), limits.min, limits.max).astype(tensor["dtype"])
    return whole


def _real(values: Array, tensor: dict[str, Any]) -> Array:
    """The numbers that a tensor's integers stand for."""
    if tensor["dtype"] == np.float32:
        return values
    scale, zero = tensor["quantization"]
    real: Array = (values.astype(np.float32) - zero) * np.float32(scale)
    return real
