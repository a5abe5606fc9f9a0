"""A frozen backbone: a .tflite file, usually int8, that turns every sample into features, once.

Only the small head after the backbone is trained. Private samples, reference set and test set pass through the
backbone when they are loaded; from then on, a "sample" is a row of features.

Features are standardised with the mean and deviation of the reference set, which all devices share. The raw features
of a network with ReLUs are positive and of arbitrary scale, so that a linear head would need another learning rate
for each backbone (digits, 8 devices of 4 classes each, softmax regression, rate 0.3: mean accuracy 0.33 on raw
features, 0.91 on standardised ones).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import BACKBONE, Backbone, Bundle
from edge.errors import DataError
from edge.interfaces import Array, Floats
from edge.interpreter import interpreter
from edge.reference import ReferenceSet

SMALLEST = 1e-6
"""Added to deviations, so that a constant feature becomes zero."""


def featured(
    bundle: Bundle, reference: ReferenceSet, samples: Sequence[Array], threads: int = 1
) -> tuple[ReferenceSet, list[Array]]:
    """Turn samples into what the bundle's model takes: standardised features, or the samples without a backbone.

    Args:
        bundle: with or without a backbone.
        reference: the reference set; its digest stays that of the samples.
        samples: further arrays (n, *backbone.shape).
        threads: for one operator.

    Returns:
        The reference set and the samples, as features (n, F) float32 if there is a backbone.

    Raises:
        DataError: samples of another shape.
        BundleError: the file cannot be loaded.
    """
    backbone = bundle.manifest.backbone
    if backbone is None:
        return reference, list(samples)
    public, *own = (features(bundle.path / BACKBONE, backbone, x, threads) for x in (reference.x, *samples))
    mean, deviation = public.mean(axis=0), public.std(axis=0) + SMALLEST
    return replace(reference, x=(public - mean) / deviation), [(rows - mean) / deviation for rows in own]


def features(path: Path, backbone: Backbone, x: Array, threads: int = 1) -> Floats:
    """Compute the raw features of samples.

    Args:
        path: the .tflite file.
        backbone: its input, as the manifest describes it.
        x: (n, *backbone.shape) float32 between 0 and 1, channels first.
        threads: for one operator.

    Returns:
        (n, F) float32.

    Raises:
        DataError: samples of another shape.
        BundleError: the file cannot be loaded.
    """
    if x.shape[1:] != backbone.shape:
        raise DataError(f"{path.name} takes samples of {list(backbone.shape)}; the data has {list(x.shape[1:])}")
    runtime = interpreter(str(path), threads)
    source, target = runtime.get_input_details()[0], runtime.get_output_details()[0]
    low, high = backbone.range
    images = np.moveaxis(x, 1, -1) if x.ndim == 4 else x
    rows = np.empty((len(x), int(np.prod(target["shape"][1:]))), np.float32)
    for i, image in enumerate(images):
        runtime.set_tensor(source["index"], _quantised(low + (high - low) * image[None], source))
        runtime.invoke()
        rows[i] = _dequantised(runtime.get_tensor(target["index"]), target).reshape(-1)
    return rows


def _quantised(values: Array, tensor: dict[str, Any]) -> Array:
    """Quantise: q = x / scale + zero point, clipped to the tensor's type."""
    if tensor["dtype"] == np.float32:
        return values.astype(np.float32)
    scale, zero = tensor["quantization"]
    limits = np.iinfo(tensor["dtype"])
    whole: Array = np.clip(np.round(values / scale + zero), limits.min, limits.max).astype(tensor["dtype"])
    return whole


def _dequantised(values: Array, tensor: dict[str, Any]) -> Array:
    """Dequantise: x = (q - zero point) * scale."""
    if tensor["dtype"] == np.float32:
        return values
    scale, zero = tensor["quantization"]
    real: Array = (values.astype(np.float32) - zero) * np.float32(scale)
    return real
