"""Data sets as plain `.npy` files: made once, under a lock, and opened memory-mapped by every trial."""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from filelock import FileLock

from trainables.errors import DataError
from trainables.prefetch import map_ahead
from trainables.sources.base import Array, Source

__all__ = ["Images", "in_parallel", "prepared"]

WRITTEN_LAST = "train"
ANNOUNCE_SECONDS = 10.0

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Images:
    """n images of a shape in bytes, read one at a time: they may be more than memory holds."""

    n: int
    shape: tuple[int, ...]
    read: Callable[[int], Array]

    @property
    def nbytes(self) -> int:
        return self.n * math.prod(self.shape)


Parts = Mapping[str, Array | Images]


def prepared(folder: Path, name: str, scale: float, make: Callable[[], Parts]) -> Source:
    """A data set whose arrays lie in a folder; on first use they are made, once whoever asks at the same time.

    Raises DataError where the folder cannot be written, or its disk is too small; what is not finished leaves no file.
    """
    if not _is_there(folder):
        try:
            _prepare(folder, name, make)
        except OSError as error:
            raise DataError(
                f"data.name: {name} could not be prepared in {folder}: {error}; choose a writable folder with "
                "--data-dir or VAE_TUNER_DATA"
            ) from None
    train, val, test = (_opened(folder / f"{part}.npy") for part in ("train", "val", "test"))
    assert train is not None
    return Source(train, val, test, scale)


def _is_there(folder: Path) -> bool:
    return (folder / f"{WRITTEN_LAST}.npy").exists()


def _opened(path: Path) -> Array | None:
    return np.load(path, mmap_mode="r") if path.exists() else None


def _prepare(folder: Path, name: str, make: Callable[[], Parts]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if _is_there(folder):
            return
        try:
            _save(folder, name, make())
        finally:
            if not _is_there(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _save(folder: Path, name: str, parts: Parts) -> None:
    _check_space(folder, name, sum(examples.nbytes for examples in parts.values()))
    folder.mkdir(exist_ok=True)
    for part in sorted(parts, key=WRITTEN_LAST.__eq__):
        partial = folder / f"{part}.partial"
        with partial.open("wb") as file:
            _write(file, parts[part], f"{name} {part}")
        partial.replace(folder / f"{part}.npy")


def _check_space(folder: Path, name: str, needed: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if needed > free:
        raise DataError(
            f"data.name: {name} takes {needed / 1e9:.3g} GB when prepared and {folder.parent} has {free / 1e9:.3g} GB "
            "free; lower data.image_size, or choose another folder with --data-dir or VAE_TUNER_DATA"
        )


def _write(file: BinaryIO, examples: Array | Images, what: str) -> None:
    if isinstance(examples, Images):
        _write_images(file, examples, what)
    else:
        np.save(file, examples)


def _write_images(file: BinaryIO, images: Images, what: str) -> None:
    shape = (images.n, *images.shape)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    for image in in_parallel(images.read, range(images.n), images.n, f"{what}: images prepared"):
        file.write(image.tobytes())


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item], n: int, what: str) -> Iterator[Result]:
    """The results for n items, in order, computed by all cores; what takes long says on stderr how far it is."""
    told = time.monotonic()
    for done, result in enumerate(map_ahead(function, items, workers=os.cpu_count() or 1), 1):
        yield result
        if time.monotonic() - told > ANNOUNCE_SECONDS:
            told = time.monotonic()
            print(f"{what}: {done} of {n}", file=sys.stderr)
