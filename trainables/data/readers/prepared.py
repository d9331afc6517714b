"""Data sets as plain `.npy` files: made once, and opened memory-mapped by every trial of a node, which share the pages.

Below a data directory lie

    prepared/NAME/             a built-in set; celeba's by its side
    prepared/images/KEY/       a user's folder of images
    prepared/arrays/KEY/       a user's arrays that cannot be mapped as they are: .npz, float64, …
    prepared/bits/PART/KEY/    bits drawn once from a part of any of them
    prepared/digests/KEY       the digest of any of them

KEY stands for all that they were made from, files with their sizes and times: what has changed is made anew, and of
each kind of array those made last are kept. A set is there only when all of it is, and whoever makes it makes the same:
a lock spares the others the work, and where it does not hold nothing breaks. Any of it may be removed at any time.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from uuid import uuid4

import numpy as np
from filelock import FileLock

from trainables.cores import allotted_cores
from trainables.data.prefetch import map_ahead
from trainables.data.readers.base import Array, Source
from trainables.errors import DataError

PARTS = (
    "val",
    "test",
    "train",
)  # in the order in which they are written and opened: the last one says that all are there
KEPT = 8
ANNOUNCE_SECONDS = 10.0

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Streamed:
    """An array [N, *shape] made some rows at a time: it may be more than memory holds."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: Iterable[Array]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Images:
    """n images of a shape in bytes, read one at a time."""

    n: int
    shape: tuple[int, ...]
    read: Callable[[int], Array]

    @property
    def nbytes(self) -> int:
        return self.n * math.prod(self.shape)

    def streamed(self, what: str) -> Streamed:
        """All of them, read by all cores."""
        rows = in_parallel(self.read, range(self.n), self.n, f"{what}: images prepared")
        return Streamed((self.n, *self.shape), np.dtype(np.uint8), rows)


Parts = Mapping[str, Array | Images | Streamed]


class _PreparationError(DataError):
    """The folder cannot be written, or its disk is too small."""


def key_of(*origins: object) -> str:
    """The name of what is made from these: from text and numbers, files as given by their path, and arrays.

    Of a file its size and times count, that of its last change too, which nobody can set; an array that is mapped is
    its file.
    """
    digest = hashlib.sha256()
    for origin in origins:
        digest.update(_identity(origin))
        digest.update(b"\n")
    return digest.hexdigest()[:20]


def _identity(origin: object) -> bytes:
    if isinstance(origin, np.memmap) and origin.filename:
        return _identity(Path(origin.filename))
    if isinstance(origin, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(origin).data).digest()
    if isinstance(origin, Path):
        status = origin.stat()
        return os.fsencode(f"{origin.absolute()} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}")
    return os.fsencode(str(origin))


def prepared(folder: Path, name: str, scale: float, make: Callable[[], Parts], *, bounded: bool = False) -> Source:
    """A data set whose arrays lie in a folder; on first use they are made, once whoever asks at the same time.

    bounded: beside the folder lie others like it, of which the last KEPT stay. Raises DataError where the folder cannot
    be written, or its disk is too small; what is not finished leaves no file.
    """
    if (found := _whole(folder, scale)) is not None:
        return found
    try:
        return _prepare(folder, name, scale, make, bounded)
    except OSError as error:
        raise _PreparationError(
            f"data.name: {name} could not be prepared in {folder}: {error}; choose a writable folder with "
            "--data-dir or VAE_TUNER_DATA"
        ) from None


def prepared_or_in_memory(folder: Path, name: str, scale: float, make: Callable[[], Mapping[str, Streamed]]) -> Source:
    """`prepared`, of a bounded number; where that cannot be, the arrays are held in memory, which is said on stderr."""
    try:
        return prepared(folder, name, scale, make, bounded=True)
    except _PreparationError as error:
        print(f"{error}; until then each trial holds a copy of it in memory", file=sys.stderr)
    parts = {part: np.concatenate(list(examples.rows)) for part, examples in make().items()}
    return Source(parts["train"], parts.get("val"), parts.get("test"), scale)


def _whole(folder: Path, scale: float) -> Source | None:
    """None where it is not there yet (its training examples come last), cannot be opened (it may be forgotten at this
    moment), or is damaged."""
    if not is_there(folder):
        return None
    with suppress(OSError, ValueError):
        return opened(folder, scale)
    return None


def opened(folder: Path, scale: float) -> Source:
    """The parts that are there, mapped."""
    val, test = (_mapped(folder / f"{part}.npy") if is_there(folder, part) else None for part in PARTS[:-1])
    return Source(_mapped(folder / f"{PARTS[-1]}.npy"), val, test, scale)


def is_there(folder: Path, part: str = PARTS[-1]) -> bool:
    """Whether a part is there; by default the last that is written."""
    return (folder / f"{part}.npy").exists()


def _mapped(path: Path) -> Array:
    return np.lib.format.open_memmap(path, mode="r")


def _prepare(folder: Path, name: str, scale: float, make: Callable[[], Parts], bounded: bool) -> Source:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked_on_node(folder):
        if (found := _whole(folder, scale)) is not None:
            return found
        save(folder, name, make, bounded)
        return opened(folder, scale)


@contextmanager
def locked_on_node(folder: Path) -> Iterator[None]:
    """One process of this node after the other makes a folder; where its file system has no locks, all at once."""
    with ExitStack() as held:
        with suppress(OSError):  # some shared file systems have none
            held.enter_context(FileLock(_lock_of(folder), fallback_to_soft=False))
        yield


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def save(folder: Path, name: str, make: Callable[[], Parts], bounded: bool) -> None:
    """Make a data set and put its parts in place, the training examples last."""
    folder.mkdir(exist_ok=True)
    mine = {part: folder / f"{part}.{uuid4().hex}.partial" for part in PARTS}
    try:
        parts = make()
        _make_room(folder, name, parts, bounded)
        written = [part for part in PARTS if part in parts]
        for part in written:
            with mine[part].open("wb") as file:
                _write(file, parts[part], f"{name} {part}")
                os.fsync(file.fileno())
        for part in written:
            publish(mine[part], folder / f"{part}.npy")
        _remove(folder.glob("*.partial"))  # of those who were killed
    finally:
        _remove(mine.values())
        with suppress(OSError):  # it is not empty
            folder.rmdir()


def publish(partial: Path, path: Path) -> None:
    """Where no lock holds, someone faster may have put the same there, and taken this away."""
    try:
        partial.replace(path)
    except FileNotFoundError:
        if not path.exists():
            raise


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _make_room(folder: Path, name: str, parts: Parts, bounded: bool) -> None:
    needed = sum(examples.nbytes for examples in parts.values())
    if bounded:
        with suppress(OSError):  # another forgets them too, or they are another user's
            _forget_others(folder, needed)
    free = _free(folder)
    if needed > free:
        smaller = "lower data.image_size, or " if any(isinstance(part, Images) for part in parts.values()) else ""
        raise _PreparationError(
            f"data.name: {name} takes {needed / 1e9:.3g} GB when prepared and {folder.parent} has {free / 1e9:.3g} GB "
            f"free; {smaller}choose another folder with --data-dir or VAE_TUNER_DATA"
        )


def _forget_others(folder: Path, needed: int) -> None:
    """The oldest beside a folder: all that are too many, and more where space is needed. What is open stays so."""
    whole = folder.parent.glob(f"*/{PARTS[-1]}.npy")
    others = sorted((path.stat().st_mtime_ns, path.parent) for path in whole)
    while others and (len(others) >= KEPT or needed > _free(folder)):
        forget(others.pop(0)[1])


def forget(folder: Path) -> None:
    """Whoever opens it at this moment finds all of it or, as its last part goes first, nothing."""
    (folder / f"{PARTS[-1]}.npy").unlink()
    shutil.rmtree(folder, ignore_errors=True)
    _lock_of(folder).unlink(missing_ok=True)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder.parent).free


def _write(file: BinaryIO, examples: Array | Images | Streamed, what: str) -> None:
    if isinstance(examples, Images):
        examples = examples.streamed(what)
    if isinstance(examples, Streamed):
        _write_rows(file, examples)
    else:
        np.save(file, examples)


def _write_rows(file: BinaryIO, examples: Streamed) -> None:
    header = {"descr": examples.dtype.str, "fortran_order": False, "shape": examples.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for rows in examples.rows:
        file.write(rows.tobytes())


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item], n: int, what: str) -> Iterator[Result]:
    """The results for n items, in order, computed by all cores; what takes long says on stderr how far it is."""
    told = time.monotonic()
    for done, result in enumerate(map_ahead(function, items, workers=allotted_cores().n), 1):
        yield result
        if time.monotonic() - told > ANNOUNCE_SECONDS:
            told = time.monotonic()
            print(f"{what}: {done} of {n}", file=sys.stderr)
