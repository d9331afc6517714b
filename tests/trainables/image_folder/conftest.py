"""A folder of images, which tests write and read."""

import numpy as np
import pytest
from PIL import Image

from trainables.data import readers
from trainables.errors import DataError


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "faces"


@pytest.fixture
def write(folder):
    """Save an image under a relative path in the folder."""

    def save(path, image, **options):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        image.save(folder / path, **({"lossless": True} if path.lower().endswith(".webp") else {}), **options)

    return save


@pytest.fixture
def read(folder, tmp_path):
    def read(image_size=None):
        return readers.read(str(folder), tmp_path / "data", image_size)

    return read


@pytest.fixture
def message(read, tmp_path):
    """What is said of the folder, without where it lies."""

    def fail(image_size=None):
        with pytest.raises(DataError) as error:
            read(image_size)
        return str(error.value).replace(f"{tmp_path}/", "")

    return fail
