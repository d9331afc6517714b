"""The arrays of a `.npy` or `.npz` file: the headers are read first, the values when they are needed."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from trainables.data.readers.base import Array
from trainables.data.readers.reading import reading

MAGIC = b"\x93NUMPY"
HEADER_BYTES = 2**16
"""More than NumPy takes for a header that it trusts."""
PIECE_BYTES = 2**24

MOST_TIMES_SMALLER = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
"""How many bytes one of a member can stand for, by its compression, of those that NumPy writes."""


@dataclass(frozen=True)
class StoredArray:
    """An array in a file. shape, dtype: by its header. ordered: its examples lie one after the other. values: reads
    them, those of a `.npy` file memory-mapped."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    ordered: bool
    values: Callable[[], Array]


@dataclass(frozen=True)
class _Header:
    """start: where the values begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def stored(self, values: Callable[[], Array]) -> StoredArray:
        return StoredArray(self.shape, self.dtype, not self.fortran, values)


def stored_arrays(path: Path, wanted: Collection[str]) -> dict[str, StoredArray | None]:
    """The arrays of a file by name; of those that are not wanted only the name is read. An array alone is `x`.

    No pickle is read. Raises DataError for a file that is damaged, and for an array that is not as large as its header
    says: before memory is asked for.
    """
    with _reading(path), path.open("rb") as file:
        start = file.read(len(MAGIC))
        if path.suffix == ".npy" or start == MAGIC:
            return {"x": _alone(path)}
        if not start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            raise ValueError("it does not begin like a zip file")
        return _members(path, wanted)


def _reading(path: Path) -> AbstractContextManager[None]:
    return reading(path, "a NumPy file without pickles", "save it again with np.save or np.savez")


def _alone(path: Path) -> StoredArray:
    with path.open("rb") as file:
        header = _header(file)
    _check_size(header, path.stat().st_size - header.start)

    def mapped() -> Array:
        with _reading(path):
            return np.memmap(path, header.dtype, "r", header.start, header.shape, order="F" if header.fortran else "C")

    return header.stored(mapped)


def _members(path: Path, wanted: Collection[str]) -> dict[str, StoredArray | None]:
    with zipfile.ZipFile(path) as archive:
        names = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        return {name: _member(path, archive, name, info) if name in wanted else None for name, info in names.items()}


def _member(path: Path, archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> StoredArray:
    if info.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    if info.compress_type not in MOST_TIMES_SMALLER:
        raise ValueError(f"{name} is compressed in a way that NumPy does not use (number {info.compress_type})")
    if info.file_size > MOST_TIMES_SMALLER[info.compress_type] * info.compress_size:
        raise ValueError(f"{name} cannot hold {info.file_size} bytes in the {info.compress_size} that it takes")
    with archive.open(info) as file:
        header = _header(file)
    _check_size(header, info.file_size - header.start)

    def read() -> Array:
        with _reading(path), zipfile.ZipFile(path) as archive, archive.open(info) as file:
            file.read(header.start)
            return _values(file, header)

    return header.stored(read)


def _header(file: IO[bytes]) -> _Header:
    head = io.BytesIO(file.read(HEADER_BYTES))
    version = npy.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"format {version[0]}.{version[1]} is for fields with names; allowed: numbers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # files of Python 2 are read as well
        shape, fortran, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(head)
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"its shape is {shape}; allowed: whole numbers")
    if dtype.hasobject:
        raise ValueError("it holds Python objects; allowed: numbers")
    return _Header(shape, fortran, dtype, head.tell())


def _check_size(header: _Header, n_bytes: int) -> None:
    if header.n_bytes != n_bytes:
        raise ValueError(
            f"its header says {header.dtype} of shape {header.shape}, which takes {header.n_bytes} bytes, and it holds "
            f"{n_bytes}"
        )


def _values(file: IO[bytes], header: _Header) -> Array:
    """All of them, compared with their checksum at the end of the member."""
    flat = np.empty(header.n_bytes, np.uint8)
    done = 0
    while piece := file.read(PIECE_BYTES):
        flat[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
        done += len(piece)
    if done != len(flat):
        raise EOFError("it ends early")
    values = flat.view(header.dtype)
    return values.reshape(header.shape[::-1]).T if header.fortran else values.reshape(header.shape)
