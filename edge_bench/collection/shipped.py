"""What scikit-learn ships, tabular and small, and text: the docstrings of installed packages.

`digits-raw` has the values of a sensor that nobody scaled: mean -3 and standard deviation 16.
"""

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from zlib import crc32

import numpy as np
from sklearn import datasets

from edge_bench.collection import CollectionSpec, LabelledTable, Make

PACKAGES = ("numpy", "scipy", "sklearn", "onnx", "pydantic", "rich")
"""whose docstrings `docstrings` tells apart"""
FEATURES, SHORTEST, PER_PACKAGE = 256, 80, 400


def make(_folder: Path | None) -> Mapping[str, Make]:
    """See `edge_bench.collection`."""
    names = ("iris", "wine", "breast_cancer", "digits")
    tables: dict[str, Make] = {name.replace("_", "-"): partial(bunch, name) for name in names}
    return {**tables, "digits-raw": unscaled, "diabetes-quartiles": quartiles, "docstrings": docstrings}


def bunch(name: str) -> LabelledTable:
    """One of scikit-learn's classifications."""
    loaded = getattr(datasets, f"load_{name}")()
    return LabelledTable(loaded.data.astype(np.float32), loaded.target)


def unscaled() -> LabelledTable:
    """Digits with an offset and a large scale."""
    table = bunch("digits")
    spread = table.x.std(axis=0)
    scaled = (table.x - table.x.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return LabelledTable((16 * scaled - 3).astype(np.float32), table.y)


def quartiles() -> LabelledTable:
    """In which quarter of all patients a disease has progressed."""
    loaded = datasets.load_diabetes()
    return LabelledTable(
        loaded.data.astype(np.float32), np.digitize(loaded.target, np.quantile(loaded.target, [0.25, 0.5, 0.75]))
    )


def docstrings() -> LabelledTable:
    """Which package a docstring is from, by its three-letter sequences, hashed; column: the module."""
    x, y, modules = [], [], []
    for label, package in enumerate(PACKAGES):
        texts = sorted(_texts(package).items())
        chosen = np.random.default_rng(label).permutation(len(texts))[:PER_PACKAGE]
        for (module, _), text in (texts[i] for i in chosen):
            words = text.lower().replace(package, "")
            counts = np.zeros(FEATURES, np.float32)
            for at in range(len(words) - 2):
                counts[crc32(words[at : at + 3].encode()) % FEATURES] += 1
            x.append(np.log1p(counts))
            y.append(label)
            modules.append(module)
    return LabelledTable(np.stack(x), np.array(y), {"module": np.unique(modules, return_inverse=True)[1]})


def _texts(package: str) -> dict[tuple[str, str], str]:
    """(module, name) -> docstring, of what a package's public modules define."""
    top = import_module(package)
    names = [package, *(f"{package}.{m.name}" for m in iter_modules(top.__path__) if not m.name.startswith("_"))]
    texts = {}
    for name in names:
        try:
            module = import_module(name)
        except Exception:  # a module that needs something which is not installed; others are enough
            continue
        for key, thing in vars(module).items():
            text = getattr(thing, "__doc__", None)
            if not key.startswith("_") and callable(thing) and isinstance(text, str) and len(text) >= SHORTEST:
                texts[name, key] = text
    return texts


SPEC = CollectionSpec(make=make)
