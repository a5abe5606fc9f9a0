"""Files in `--data-dir`, and Debian's Fashion-MNIST, where they are: images and sensor windows.

`mnist.npz`, `fashion_mnist.npz` (x_train, y_train), `uci_hapt_128x6.npz` (x, y, user), `mnist10_clients.npz` (x, y,
client), `cifar10_jpeg_bytes.npz` (header, data, length, label, is_test). Of large sets ROWS rows are drawn once, from
the part for training.
"""

import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from edge.data import idx
from edge.errors import ConfigError
from edge.interfaces import Array
from edge_bench.collection import CollectionSpec, LabelledTable, Make

ROWS = 4000
DEBIAN = Path("/usr/share/dataset/fashion-mnist")
PEOPLE = "by:user:6"
"""the activity windows overlap by half: whoever is tested on must not have been trained on"""


def make(folder: Path | None) -> Mapping[str, Make]:
    """See `edge_bench.collection`."""
    makers: dict[str, Make] = {}
    if DEBIAN.is_dir():
        makers["fashion"] = debian
    if folder is None:
        return makers
    known: dict[str, tuple[str, Make]] = {
        "mnist": ("mnist.npz", partial(images, folder / "mnist.npz")),
        "fashion": ("fashion_mnist.npz", partial(images, folder / "fashion_mnist.npz")),
        "mnist-clients": ("mnist10_clients.npz", partial(clients, folder / "mnist10_clients.npz")),
        "cifar10": ("cifar10_jpeg_bytes.npz", partial(jpegs, folder / "cifar10_jpeg_bytes.npz")),
        "activity": ("uci_hapt_128x6.npz", partial(windows, folder / "uci_hapt_128x6.npz")),
        "activity-spectra": ("uci_hapt_128x6.npz", partial(spectra, folder / "uci_hapt_128x6.npz")),
        "activity-statistics": ("uci_hapt_128x6.npz", partial(statistics, folder / "uci_hapt_128x6.npz")),
    }
    return makers | {name: maker for name, (file, maker) in known.items() if (folder / file).is_file()}


def images(path: Path) -> LabelledTable:
    """Images of 28 x 28, every two by two averaged."""
    arrays = _read(path)
    return _halved(arrays["x_train"], arrays["y_train"])


def debian() -> LabelledTable:
    """Fashion-MNIST as the package dataset-fashion-mnist installs it."""
    dataset = idx.SPEC.read(str(DEBIAN)) if idx.SPEC.read else None
    assert dataset is not None
    assert dataset.rows.y is not None
    return _halved(dataset.rows.x, dataset.rows.y)


def clients(path: Path) -> LabelledTable:
    """Ten clients' digits, with the client as a column."""
    arrays = _read(path)
    table = _halved(arrays["x"], arrays["y"], len(arrays["y"]))
    return LabelledTable(table.x, table.y, {"client": arrays["client"]})


def jpegs(path: Path) -> LabelledTable:
    """Colour photographs of 32 x 32, every four by four averaged."""
    from PIL import Image  # only here: no other set is compressed

    arrays = _read(path)
    ends = np.concatenate([[0], np.cumsum(arrays["length"].astype(np.int64))])
    head, rows = arrays["header"].tobytes(), _drawn(np.flatnonzero(arrays["is_test"] == 0))
    photographs = []
    for i in rows:
        body = arrays["data"][ends[i] : ends[i + 1]].tobytes()
        photographs.append(np.asarray(Image.open(io.BytesIO(head + body)).convert("RGB"), np.float32) / 255)
    means = np.stack(photographs).reshape(-1, 8, 4, 8, 4, 3).mean(axis=(2, 4))
    return LabelledTable(np.moveaxis(means, 3, 1).astype(np.float32), arrays["label"][rows].astype(np.int64))


def windows(path: Path) -> LabelledTable:
    """Windows of 128 samples of six sensors, every four averaged; people are held out."""
    x, y, user = _people(path)
    return LabelledTable(x.reshape(len(x), 6, 32, 4).mean(axis=3), y, {"user": user}, PEOPLE)


def spectra(path: Path) -> LabelledTable:
    """The same as logarithms of the energy in 16 bands for each sensor."""
    x, y, user = _people(path)
    power = np.abs(np.fft.rfft(x, axis=2)[:, :, :64]) ** 2
    bands = np.log(power.reshape(len(x), 6, 16, 4).sum(axis=3) + 1e-6)
    return LabelledTable(bands.reshape(len(x), -1).astype(np.float32), y, {"user": user}, PEOPLE)


def statistics(path: Path) -> LabelledTable:
    """The same as mean, deviation, extremes and mean step of each sensor."""
    x, y, user = _people(path)
    step = np.abs(np.diff(x, axis=2)).mean(axis=2)
    parts = [x.mean(axis=2), x.std(axis=2), x.min(axis=2), x.max(axis=2), step]
    return LabelledTable(np.concatenate(parts, axis=1).astype(np.float32), y, {"user": user}, PEOPLE)


def _people(path: Path) -> tuple[Array, Array, Array]:
    arrays = _read(path)
    rows = _drawn(np.arange(len(arrays["y"])), 2 * ROWS)
    return arrays["x"][rows].astype(np.float32), arrays["y"][rows].astype(np.int64), arrays["user"][rows]


def _halved(x: Array, y: Array, most: int = ROWS) -> LabelledTable:
    rows = _drawn(np.arange(len(y)), most)
    square = x[rows].reshape(len(rows), 14, 2, 14, 2).astype(np.float32)
    return LabelledTable(square.mean(axis=(2, 4))[:, None] / 255, y[rows].astype(np.int64))


def _drawn(rows: Array, most: int = ROWS) -> Array:
    """At most so many of the rows, the same every time."""
    chosen: Array = np.sort(np.random.default_rng(0).permutation(rows)[:most])
    return chosen


def _read(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as reason:
        raise ConfigError(f"--data-dir: {path} cannot be read: {reason}") from None


SPEC = CollectionSpec(make=make)
