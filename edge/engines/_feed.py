"""The inputs of a training step in memory that stays where it is, so that a runtime binds them once."""

from collections.abc import Mapping

import numpy as np

from edge.bundle import Manifest
from edge.engines import _checks as check
from edge.interfaces import Array

ALIGNMENT = 64
"""Bytes. Some sums of a runtime begin at an aligned address: where a caller keeps its arrays must not change bits."""


class Feed:
    """Buffers for one batch, its masks of Dropout included; they are replaced when a batch has other shapes.

    Between two steps the parameters have passed through the processor's caches, so every object that Python touches
    here comes from memory: few of them, rather than few instructions, are what makes this fast.

    arrays: name -> buffer, of the batch's arrays. masks: likewise.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.arrays: dict[str, Array] = {}
        self.masks: dict[str, Array] = {}
        self._manifest = manifest
        self._inputs = len(manifest.inputs)
        self._classes, job = manifest.classes, manifest.job
        self._plain = job.bounded and job.classes and not job.positions
        self._tokens = bool(manifest.vocabulary)
        self._valid = bytearray()
        self._floats: list[tuple[Array, Array]] = []
        self._labels: Array | None = None

    def fill(self, batch: Mapping[str, Array]) -> bool:
        """Copy a batch into the buffers.

        Returns:
            Whether the buffers are new, because the batch has other shapes than the last one.

        Raises:
            EngineError: the batch is not what a step takes (`_checks.batch`).
        """
        arrays, fresh = self.arrays, len(batch) != self._inputs
        for name, value in batch.items():
            buffer = arrays.get(name)
            if buffer is None or value.shape != buffer.shape or value.dtype != buffer.dtype:
                fresh = True
                break
            buffer[...] = value
        if fresh:
            check.batch(self._manifest, batch)
            self._allocate(batch)
            return True
        # Without allocating anything; `_checks.content` has the words if a value is wrong.
        for values, valid in self._floats:
            np.isfinite(values, valid)
        labels = self._labels
        if 0 in self._valid or (labels is not None and max(labels.tolist()) >= self._classes):
            check.content(self._manifest, batch)
        if labels is None and "labels" in batch:
            check.labels(self._manifest, batch["labels"])
        if self._tokens:
            check.content(self._manifest, batch)
        return False

    def add(self, masks: Mapping[str, Array]) -> None:
        """Copy the masks that belong to the batch."""
        for name, mask in masks.items():
            self.masks[name][...] = mask

    def _allocate(self, batch: Mapping[str, Array]) -> None:
        self.arrays = {name: aligned(value.shape, value.dtype) for name, value in batch.items()}
        for name, value in batch.items():
            self.arrays[name][...] = value
        floats = [buffer.ravel() for buffer in self.arrays.values() if buffer.dtype.kind == "f"]
        # A negative class is a large one without its sign: one comparison instead of two.
        of_classes = self._plain and "labels" in self.arrays
        self._labels = self.arrays["labels"].view(np.uint64) if of_classes else None
        ends = np.cumsum([values.size for values in floats])
        self._valid = bytearray(int(ends[-1]) if len(ends) else 0)
        parts = np.split(np.frombuffer(self._valid, np.bool_), ends[:-1])
        self._floats = list(zip(floats, parts, strict=True)) if floats else []
        rows, noise = sum(check.rows(batch)), self._manifest.noise
        self.masks = {n.name: aligned((rows, *n.shape), np.dtype(np.float32)) for n in noise}


def aligned(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """Allocate an array that begins at a multiple of ALIGNMENT."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + size].view(dtype).reshape(shape)
