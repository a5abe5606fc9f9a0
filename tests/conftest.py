"""Tests that need an environment of their own are left out of every other one; MURMUR_SEED moves every seed."""

import os

import numpy as np

ALONE = {"ort_training": "MURMUR_ORT_TRAINING", "web": "MURMUR_WEB"}
"""folder -> what the Makefile sets for it"""
collect_ignore = [f for f, flag in ALONE.items() if not os.environ.get(flag)]

SHIFT = int(os.environ.get("MURMUR_SEED", "0"))
"""Zero leaves every seed as it is written. Another number draws other weights and inputs everywhere, so that a test
that holds by the luck of its seed shows itself (`make seeds`)."""

if SHIFT:
    unshifted = np.random.default_rng

    def shifted(seed: object = None) -> np.random.Generator:
        """As `default_rng`, with a seed of its own for each value of MURMUR_SEED; a generator is handed on."""
        if isinstance(seed, int | np.integer):
            return unshifted([int(seed), SHIFT])
        if isinstance(seed, list | tuple):
            return unshifted([*seed, SHIFT])
        return unshifted(seed)  # type: ignore[arg-type]

    np.random.default_rng = shifted
