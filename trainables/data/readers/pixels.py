"""From an image file to bytes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainables.data.readers.base import Array
from trainables.data.readers.reading import reading, shown
from trainables.errors import DataError

_GRAY = ("1", "L", "LA", "La")
_ORIENTATION = 0x0112
_TURNS: dict[Any, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = [_TURNS[orientation] for orientation in (5, 6, 7, 8)]
_PILLOW = re.compile(r"PIL\.")
_WIDE = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


@contextmanager
def reading_image(path: Path) -> Iterator[None]:
    """Turns whatever fails inside into a DataError that names the image.

    Pillow's warnings stay silent: they name no file, and are of what does not count, as damaged EXIF data.
    """
    if all(module != _PILLOW for _, _, _, module, _ in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)
    with reading(path, "an image", "replace or remove it"):
        yield


def image_header(path: Path) -> tuple[tuple[int, int], bool]:
    """Width and height of an image as it is shown, and whether it is gray, without decoding it.

    Raises DataError for what cannot be read, and for more than 8 bits a value.
    """
    with reading_image(path), Image.open(path) as image:
        size, mode, turn = image.size, image.mode, _turn(image)
    if mode in _WIDE:
        raise DataError(f"data.name: {shown(path)} has more than 8 bits a value (mode {mode}); save it with 8 bits")
    return size[::-1] if turn in _ON_ITS_SIDE else size, mode in _GRAY


def read_pixels(path: Path, *, gray: bool, side: int | None, crop: int | None = None) -> Array:
    """An image in bytes, H×W if gray and 3×H×W if not, turned as its EXIF data say; transparency is dropped.

    side: the central square is scaled to it, as torchvision's CenterCrop and Resize do: by Pillow's bilinear filter,
    which averages where it makes smaller. `None`: the image is taken as it is. crop: side of that central square, the
    largest where it is not given. Raises DataError for what cannot be read.
    """
    with reading_image(path), Image.open(path) as image:
        turn = _turn(image)
        found = _converted(image, gray)
    if turn is not None:
        found = found.transpose(turn)
    pixels = np.asarray(found if side is None else _scaled(found, side, crop or min(found.size)))
    return pixels if gray else pixels.transpose(2, 0, 1)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What brings an image upright that a camera stored lying. Of PNG only what stands before the pixels is known;
    EXIF data that are damaged say nothing."""
    try:
        return _TURNS.get(Image.Image.getexif(image).get(_ORIENTATION))
    except Exception:  # Pillow raises another kind for nearly each damage, and the picture itself may be sound
        return None


def _converted(image: Image.Image, gray: bool) -> Image.Image:
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("L" if gray else "RGB")


def _scaled(image: Image.Image, side: int, crop: int) -> Image.Image:
    left, top = round((image.width - crop) / 2), round((image.height - crop) / 2)
    square = image.crop((left, top, left + crop, top + crop))
    return square.resize((side, side), Image.Resampling.BILINEAR)
