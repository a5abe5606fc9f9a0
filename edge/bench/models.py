"""The models that steps are measured with, and the shape of a sample; ten classes."""

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
