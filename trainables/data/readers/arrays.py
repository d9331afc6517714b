"""A user's arrays: a `.npy` file, or a `.npz` file with `x`, or `x_train` and what is official beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from trainables.data.readers.base import Array, Source, in_parts, kept_as
from trainables.data.readers.file_reader import FileReader
from trainables.data.readers.numpy_files import StoredArray, stored_arrays
from trainables.errors import DataError

PARTS = ("x", "x_train", "x_val", "x_test")
LARGEST = 1e15
"""The squares of 10⁸ such values add up to less than the largest float32."""


class NumpyReader(FileReader):
    """A `.npy` file holds `x` alone; a `.npz` file `x`, or `x_train` with `x_val` and `x_test`."""

    suffixes = (".npy", ".npz")

    def read(self, path: Path) -> Source:
        """The arrays as they are; that of a `.npy` file is opened memory-mapped."""
        found = _found(path)
        name = next(iter(found))
        train = found[name].shape
        for key, array in found.items():
            _check_header(path, key, array)
            if array.shape[1:] != train[1:]:
                raise DataError(
                    f"data.name: {key} in {path} has examples of {array.shape[1:]}, those to train on are {train[1:]}"
                )
        values = {key: array.values() for key, array in found.items()}
        for key, numbers in values.items():
            _check_values(path, key, numbers)
        return Source(values[name], values.get("x_val"), values.get("x_test"), 1.0)

    def mapped(self, path: Path, root: Path) -> Source:
        """A `.npy` file that can be mapped as it is, is."""
        if path.suffix != ".npy" or not _is_kept(_found(path)["x"]):
            return super().mapped(path, root)
        source = self.read(path)
        return replace(source, train=source.train.view(kept_as(source.train)))


def _is_kept(array: StoredArray) -> bool:
    return array.ordered and array.dtype in (np.bool_, np.uint8, np.float32)


def _found(path: Path) -> dict[str, StoredArray]:
    """What of a file is used, the training examples first; nothing of it is checked yet."""
    there = stored_arrays(path, PARTS)
    name = "x_train" if "x_train" in there else "x"
    if name not in there:
        raise DataError(
            f"data.name: {path} has the arrays {sorted(there)}; needed: x, or x_train with x_val and x_test"
        )
    return {key: array for key in (name, "x_val", "x_test") if (array := there.get(key)) is not None}


def _check_header(path: Path, key: str, array: StoredArray) -> None:
    if array.dtype.kind not in "biuf":
        raise DataError(f"data.name: {key} in {path} holds {array.dtype}; allowed: numbers")
    if len(array.shape) not in (2, 3, 4):
        raise DataError(
            f"data.name: {key} in {path} has shape {array.shape}; allowed: N×D, N×H×W or N×C×H×W, one example a row"
        )
    if array.shape[0] == 0:
        raise DataError(f"data.name: {key} in {path} is empty; at least one example is needed")
    if 0 in array.shape:
        raise DataError(
            f"data.name: {key} in {path} has shape {array.shape}: its examples are empty; each needs at least one value"
        )


def _check_values(path: Path, key: str, array: Array) -> None:
    if array.dtype == np.bool_ and any(rows.view(np.uint8).max() > 1 for rows in in_parts(array)):
        raise DataError(f"data.name: {key} in {path} holds bits that are neither 0 nor 1; save it again with np.save")
    if array.dtype.kind == "f" and (bad := sum(map(_n_not_finite, in_parts(array)))):
        raise DataError(f"data.name: {key} in {path} has {bad} values that are NaN or infinite; remove or impute them")
    if _may_be_large(array) and (largest := max(map(_largest, in_parts(array)))) > LARGEST:
        raise DataError(
            f"data.name: {key} in {path} has values up to {largest:.3g} in size; allowed: at most {LARGEST:.0e}, "
            "whose squares float32 can still sum; divide them once and save the array again"
        )


def _n_not_finite(rows: Array) -> int:
    return int(np.count_nonzero(~np.isfinite(rows)))


def _may_be_large(array: Array) -> bool:
    return bool(array.dtype.kind == "f" and array.dtype.itemsize > 2) or array.dtype.itemsize == 8


def _largest(rows: Array) -> float:
    return max(abs(float(rows.min())), abs(float(rows.max())))
