"""A user's arrays: a `.npy` file, or a `.npz` file with `x`, or `x_train` and what is official beside it."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainables.errors import DataError
from trainables.sources.base import Array, Source, in_parts, kept_as
from trainables.sources.prepared import Streamed, key_of, prepared_or_in_memory

__all__ = ["SUFFIXES", "map_arrays", "read_arrays"]

SUFFIXES = (".npy", ".npz")


def read_arrays(path: Path) -> Source:
    """A user's arrays, as they are; a `.npy` file is opened memory-mapped and holds `x` alone.

    Raises DataError for what is no array of finite numbers, one example a row.
    """
    arrays = _opened(path)
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


def map_arrays(path: Path, root: Path) -> Source:
    """The same as bytes or float32, one example after the other, in files that are mapped and not read into memory.

    A `.npy` file that is so already is mapped itself; anything else is prepared under `root`, once for its path, size
    and time. Where that cannot be, it is held in memory.
    """
    if path.suffix == ".npy" and _is_kept(_opened(path)["x"]):
        source = read_arrays(path)
        return replace(source, train=source.train.view(kept_as(source.train)))
    _check_path(path)
    folder = root / "prepared" / "arrays" / key_of(path)
    return prepared_or_in_memory(folder, path.name, 1.0, lambda: _kept_parts(read_arrays(path)))


def _is_kept(array: Array) -> bool:
    return array.dtype in (np.bool_, kept_as(array)) and array.flags.c_contiguous


def _kept_parts(source: Source) -> dict[str, Streamed]:
    parts = {"train": source.train, "val": source.val, "test": source.test}
    return {name: _kept(array) for name, array in parts.items() if array is not None}


def _kept(array: Array) -> Streamed:
    dtype = kept_as(array)
    return Streamed(array.shape, dtype, (rows.astype(dtype) for rows in in_parts(array)))


def _check_path(path: Path) -> None:
    if not path.exists():
        raise DataError(
            f"data.name: {path} does not exist; give the path of a .npy or .npz file, or of a folder of images"
        )
    if path.suffix not in SUFFIXES:
        raise DataError(f"data.name: {path} is no data set; give a .npy or .npz file, or the folder its images are in")


def _opened(path: Path) -> dict[str, Array]:
    _check_path(path)
    try:
        return _by_name(path)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"data.name: {path} cannot be read as a NumPy file without pickles: {error}") from None


def _by_name(path: Path) -> dict[str, Array]:
    """An array alone is `x`."""
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
    return sum(int(np.count_nonzero(~np.isfinite(rows))) for rows in in_parts(array))


def _check_shape(path: Path, key: str, array: Array, train: Array) -> None:
    if array.shape[1:] != train.shape[1:]:
        raise DataError(
            f"data.name: {key} in {path} has examples of {array.shape[1:]}, those to train on are {train.shape[1:]}"
        )
