"""The models that steps are measured with, and the shapes of their samples; ten classes."""

from collections.abc import Sequence
from pathlib import Path

from edge import bundle as bundles
from edge.bundle import Bundle
from edge.engines import ENGINES
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
    spec: str, folder: Path, engine: str, rows: Sequence[int], *, objective: str = "cross_entropy", segments: int = 1
) -> Bundle:
    """Open the bundle in the folder `spec`, or export one of SHAPES.

    Args:
        spec: a folder, or a key of SHAPES.
        folder: in which one of SHAPES is exported.
        engine: what will run it.
        rows: of the batches it will see: private ones, and reference ones if the objective has them.
        objective: of one of SHAPES.
        segments: of one of SHAPES, that recomputes its activations in so many.

    Raises:
        ConfigError: neither a folder nor in SHAPES.
        BundleError: a folder that is no bundle.
    """
    if spec in SHAPES:
        model = zoo.build(spec, shape=SHAPES[spec], classes=CLASSES)
        fixed = ENGINES.load(engine).rows(rows)
        return export(model, folder / "bundle", objective=objective, rows=fixed, segments=segments)
    if not Path(spec).is_dir():
        raise ConfigError(f"--model {spec}: expected the folder of a bundle, or one of: {', '.join(SHAPES)}")
    return bundles.read(Path(spec))


def rows_of(bundle: Bundle, batch: int) -> tuple[int, int]:
    """Return (private, reference) rows of a step with `batch` of each kind that the bundle takes."""
    return batch, batch if any("R" in tensor.shape for tensor in bundle.manifest.inputs) else 0
