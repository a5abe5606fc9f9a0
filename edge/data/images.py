"""A folder of images, one subfolder a class: `images:PATH?size=32x32&color=rgb`.

    size=HxW            all images are resized to it; if absent, all must have one size
    color=rgb|grey      three channels, or one; rgb if absent

Values become 0 to 1, channels first. Read with Pillow: pip install 'murmur-edge[data]'.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edge.data._folders import labelled, unlabelled
from edge.errors import ConfigError, DataError
from edge.interfaces import Array
from edge.source import DataSource
from edge.source_options import split
from edge.specs import DataSpec

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
MODES = {"rgb": "RGB", "grey": "L"}


def read(argument: str) -> DataSource:
    """Read a folder. argument: its path and options."""
    path, read_file = reader(argument)
    return labelled(path, f"images:{path}", ENDINGS, read_file)


def samples(argument: str) -> Array:
    """Read all images below a folder, for a reference set."""
    path, read_file = reader(argument)
    return unlabelled(path, f"images:{path}", ENDINGS, read_file)


def reader(argument: str) -> tuple[str, Callable[[Path], Array]]:
    """Return the path and what reads a file as (C, H, W) uint8. argument: the path and options. Raises ConfigError."""
    path, options = split("images", argument, {"size": "", "color": "rgb"})
    height, _, width = options["size"].partition("x")
    size = None
    if options["size"]:
        if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
            raise ConfigError(f"data 'images:{argument}': size={options['size']}: expected HxW, as in 32x32")
        size = int(width), int(height)
    if options["color"] not in MODES:
        raise ConfigError(f"data 'images:{argument}': color={options['color']}: expected one of {', '.join(MODES)}")
    try:
        from PIL import Image
    except ImportError:
        raise DataError(f"images:{path}: images are read with Pillow: pip install 'murmur-edge[data]'") from None
    return path, partial(_pixels, Image, MODES[options["color"]], size)


def _pixels(library: Any, mode: str, size: tuple[int, int] | None, file: Path) -> Array:
    """One image as (C, H, W) uint8."""
    try:
        with library.open(file) as image:
            picture = image.convert(mode)
            if size is not None and picture.size != size:
                picture = picture.resize(size)
            pixels = np.asarray(picture)
    except (OSError, ValueError, SyntaxError) as reason:
        raise DataError(f"{file} cannot be read as an image: {str(reason).splitlines()[0]}") from None
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


SPEC = DataSpec(read=read, samples=samples, file=True)
