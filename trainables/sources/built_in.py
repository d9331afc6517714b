"""The data sets that have a name: scikit-learn's digits, and those of torchvision."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from trainables.errors import DataError
from trainables.sources.base import Array, Source
from trainables.sources.pixels import read_pixels
from trainables.sources.prepared import Images, prepared

__all__ = ["DATASETS", "read_built_in"]

CELEBA_SIDE = 64
CELEBA_CROP = 148

# torchvision's class, and where under the data directory it looks for its unpacked files
_TRAIN_AND_TEST = {
    "mnist": ("MNIST", "MNIST/raw"),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
    "cifar100": ("CIFAR100", "cifar-100-python"),
}
DATASETS = ("digits", *_TRAIN_AND_TEST, "celeba")


def read_built_in(name: str, root: Path, side: int | None = None) -> Source:
    """A built-in data set, prepared on first use; torchvision's are downloaded where their files are not in `root`.

    Official parts are kept. Gray images are N×H×W, coloured ones N×3×H×W. side: of celeba's images, 64 where it is not
    given; their central 148×148 pixels are scaled to it, as is customary.
    """
    folder = root / "prepared" / name
    if name == "digits":
        return prepared(folder, name, 16.0, _digits)
    if name == "celeba":
        side = side or CELEBA_SIDE
        return prepared(folder.with_name(f"celeba-{side}"), name, 255.0, lambda: _celeba(root, side))
    return prepared(folder, name, 255.0, lambda: _train_and_test(name, root))


def _digits() -> dict[str, Array]:
    from sklearn.datasets import load_digits

    return {"train": np.asarray(load_digits().images, dtype=np.uint8)}


def _train_and_test(name: str, root: Path) -> dict[str, Array]:
    """CIFAR's files are pickles, and reading those can execute code: torchvision does so only after it has compared
    their MD5 sums with its own table, and what it read is kept as plain arrays."""
    from torchvision import datasets

    kind, files = _TRAIN_AND_TEST[name]
    dataset = getattr(datasets, kind)

    def images(train: bool) -> Array:
        found = np.asarray(_downloaded(name, root / files, lambda: dataset(root, train, download=True)).data)
        return found if found.ndim == 3 else found.transpose(0, 3, 1, 2)

    return {"train": images(True), "test": images(False)}


def _downloaded(name: str, files: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except Exception as error:  # the ways in which a download can fail are its library's, and all end here
        raise DataError(
            f"data.name: {name} could not be downloaded: {' '.join(str(error).split())}; put its files into {files} or "
            "check the connection"
        ) from None


def _celeba(root: Path, side: int) -> dict[str, Images]:
    files = root / "celeba"
    return {
        part: _aligned(files / "img_align_celeba", _celeba_names(root, files, split), side)
        for part, split in (("train", "train"), ("val", "valid"), ("test", "test"))
    }


def _celeba_names(root: Path, files: Path, split: str) -> list[str]:
    from torchvision.datasets import CelebA

    try:
        found = CelebA(root, split)
    except RuntimeError:
        if find_spec("gdown") is None:
            raise DataError(
                "data.name: celeba needs gdown for its download; pip install 'vae-tuner[celeba]', or put its files, "
                f"img_align_celeba.zip unpacked, into {files}"
            ) from None
        found = _downloaded("celeba", files, lambda: CelebA(root, split, download=True))
    return list(found.filename)


def _aligned(folder: Path, names: list[str], side: int) -> Images:
    def read(i: int) -> Array:
        return read_pixels(folder / names[i], gray=False, side=side, crop=CELEBA_CROP)

    return Images(len(names), (3, side, side), read)
