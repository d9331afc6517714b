"""A user's arrays: a `.npy` file, or a `.npz` file with `x`, or `x_train` and what is official beside it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.sources.base import Array, Source

__all__ = ["SUFFIXES", "read_arrays"]

SUFFIXES = (".npy", ".npz")


def read_arrays(path: Path) -> Source:
    """A user's arrays, as they are; a `.npy` file is opened memory-mapped and holds `x` alone.

    Raises DataError for what is no array of finite numbers, one example a row.
    """
    if not path.exists():
        raise DataError(
            f"data.name: {path} does not exist; give the path of a .npy or .npz file, or of a folder of images"
        )
    if path.suffix not in SUFFIXES:
        raise DataError(f"data.name: {path} is no data set; give a .npy or .npz file, or the folder its images are in")
    try:
        arrays = _opened(path)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"data.name: {path} cannot be read as a NumPy file without pickles: {error}") from None
    name = "x_train" if "x_train" in arrays else "x"
    if name not in arrays:
        raise DataError(
            f"data.name: {path} has the arrays {sorted(arrays)}; needed: x, or x_train with x_val and x_test"
        )
    for key in (name, "x_val", "x_test"):
        if key in arrays:
            _check_array(path, key, arrays[key])
            _check_shape(path, key, arrays[key], arrays[name])
    return Source(arrays[name], arrays.get("x_val"), arrays.get("x_test"), 1.0)


def _opened(path: Path) -> dict[str, Array]:
    """By name; an array alone is `x`."""
    if path.suffix == ".npy":
        return {"x": np.lib.format.open_memmap(path, mode="r")}
    with path.open("rb") as file:
        loaded = np.load(file, allow_pickle=False)
        return {"x": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)


def _check_array(path: Path, key: str, array: Array) -> None:
    if array.dtype.kind not in "biuf":
        raise DataError(f"data.name: {key} in {path} holds {array.dtype}; allowed: numbers")
    if array.ndim not in (2, 3, 4):
        raise DataError(
            f"data.name: {key} in {path} has shape {array.shape}; allowed: N×D, N×H×W or N×C×H×W, one example a row"
        )
    if len(array) == 0:
        raise DataError(f"data.name: {key} in {path} is empty; at least one example is needed")
    bad = _n_not_finite(array) if array.dtype.kind == "f" else 0
    if bad:
        raise DataError(f"data.name: {key} in {path} has {bad} values that are NaN or infinite; remove or impute them")


def _n_not_finite(array: Array) -> int:
    parts = np.array_split(array, 1 + array.size // 2**22)  # a file may be more than memory holds
    return sum(int(np.count_nonzero(~np.isfinite(part))) for part in parts)


def _check_shape(path: Path, key: str, array: Array, train: Array) -> None:
    if array.shape[1:] != train.shape[1:]:
        raise DataError(
            f"data.name: {key} in {path} has examples of {array.shape[1:]}, those to train on are {train.shape[1:]}"
        )
