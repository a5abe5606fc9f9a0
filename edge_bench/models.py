"""The models that steps are measured with, and the shape of a sample; ten classes."""

from pathlib import Path

from edge import bundle as bundles
from edge.bundle import Bundle
from edge.errors import ConfigError
from export import zoo
from export.write import export

CLASSES, RATE = 10, 0.01
SHAPES: dict[str, tuple[int, ...]] = {
    "mlp:200": (1, 28, 28),
    "small-cnn": (1, 28, 28),
    "lenet": (1, 28, 28),
    "resnet8": (3, 32, 32),
    "ds-cnn": (1, 49, 10),
    "mobilenet-v2": (3, 32, 32),
    "tcn": (9, 128),
    "gru": (9, 128),
    "tiny-transformer": (9, 128),
}


def opened(
    spec: str, folder: Path, *, objective: str = "cross_entropy", rows: tuple[int, ...] = (), segments: int = 1
) -> Bundle:
    """A bundle: the one in the folder `spec`, or one of SHAPES, exported to `folder`.

    rows: of a TFLite graph's batches. Raises ConfigError: neither; BundleError: a folder that is none.
    """
    if spec in SHAPES:
        model = zoo.build(spec, shape=SHAPES[spec], classes=CLASSES)
        return export(model, folder / "bundle", objective=objective, rows=rows, segments=segments)
    if not Path(spec).is_dir():
        raise ConfigError(f"--model {spec}: expected the folder of a bundle, or one of: {', '.join(SHAPES)}")
    return bundles.read(Path(spec))


def rows_of(bundle: Bundle, batch: int) -> tuple[int, int]:
    """(private, reference) rows of a step with `batch` of each that the bundle takes."""
    return batch, batch if any("R" in tensor.shape for tensor in bundle.manifest.inputs) else 0
