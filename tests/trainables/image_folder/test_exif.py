"""An image is read as it is shown: turned as its EXIF data say."""

import struct

import numpy as np
import pytest
from picture_files import pixels
from PIL import Image, ImageOps


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_data_say(orientation, suffix, write, read, folder):
    """To what Pillow itself makes of it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    levels = np.repeat(np.repeat(np.array([[0, 80, 160], [240, 40, 120]], np.uint8), 16, 0), 16, 1)
    write(f"a{suffix}", levels, exif=exif)
    with Image.open(folder / f"a{suffix}") as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("L"))
    found = read().train[0]
    found = found if found.ndim == 2 else found[0]
    assert found.shape == ((48, 32) if orientation > 4 else (32, 48))
    assert np.abs(found.astype(int) - expected).max() <= 3


def test_images_that_lie_and_that_stand_have_one_size(write, read):
    exif = Image.Exif()
    exif[0x0112] = 6
    standing = np.zeros((16, 8), np.uint8)
    standing[:4] = 255
    write("a.png", standing)
    write("b.png", Image.fromarray(standing).transpose(Image.Transpose.ROTATE_90), exif=exif)
    assert np.array_equal(*read().train)


TIFF = b"Exif\0\0II*\0"
DAMAGED = {
    "no header": b"Exif\0\0no exif data at all",
    "cut in its header": TIFF[:-2],
    "no directory": TIFF + (8).to_bytes(4, "little"),
    "values beyond its end": TIFF + struct.pack("<IHHHII", 8, 1, 0x010E, 2, 99, 6),
}


@pytest.mark.parametrize("exif", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_damaged_exif_data_turn_nothing_and_are_not_warned_about(suffix, exif, write, read):
    write(f"a{suffix}", pixels(8, 16), exif=exif)
    assert read().train.shape[-2:] == (8, 16)
