"""The data sets that have a name: scikit-learn's digits, and those of torchvision."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from trainables.data.readers.base import Array, Source
from trainables.data.readers.pixels import read_pixels
from trainables.data.readers.prepared import Images, prepared
from trainables.data.readers.reading import reading
from trainables.errors import DataError

CELEBA_SIDE = 64
CELEBA_CROP = 148
CELEBA_FILES = ("img_align_celeba", "list_eval_partition.txt")
CELEBA_PARTS = {"0": "train", "1": "val", "2": "test"}

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
    images, partition = (root / "celeba" / name for name in CELEBA_FILES)
    if not (images.is_dir() and partition.is_file()):
        _download_celeba(root)
    parts = _celeba_parts(partition)
    return {part: _aligned(images, names, side) for part, names in parts.items()}


def _download_celeba(root: Path) -> None:
    files = root / "celeba"
    if find_spec("gdown") is None:
        missing = " and ".join(name for name in CELEBA_FILES if not (files / name).exists())
        raise DataError(
            f"data.name: celeba lacks {missing} in {files}; put it there, the images unpacked, or install what "
            "downloads it: pip install 'vae-tuner[celeba]'"
        )
    from torchvision.datasets import CelebA

    _downloaded("celeba", files, lambda: CelebA(root, "train", download=True))


def _celeba_parts(partition: Path) -> dict[str, list[str]]:
    """The names of the images of each part, from lines such as `000001.jpg 0`."""
    parts: dict[str, list[str]] = {part: [] for part in CELEBA_PARTS.values()}
    with reading(partition, "celeba's partition", "replace it"):
        for number, line in enumerate(partition.read_text().splitlines(), 1):
            name, part = line.split() if len(line.split()) == 2 else (line, "")
            if part not in CELEBA_PARTS:
                raise ValueError(f"line {number} is {line!r:.60} and not a name and 0, 1 or 2")
            parts[CELEBA_PARTS[part]].append(name)
        if not all(parts.values()):
            raise ValueError(f"it has no images for {' and '.join(part for part in parts if not parts[part])}")
    return parts


def _aligned(folder: Path, names: list[str], side: int) -> Images:
    def read(i: int) -> Array:
        return read_pixels(folder / names[i], gray=False, side=side, crop=CELEBA_CROP)

    return Images(len(names), (3, side, side), read)
