"""Where raw examples come from: scikit-learn's digits, torchvision's sets, a user's arrays.

Built-in sets are prepared once, under a lock, as plain `.npy` files that every trial opens memory-mapped: trials never
download, unpack or import torchvision.
"""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from trainables.errors import DataError
from trainables.paths import suggest

__all__ = ["DATASETS", "Source", "data_dir", "is_path", "read"]

Array = NDArray[Any]

DATASETS = ("digits", "mnist", "fashion-mnist")
_SCALE = {"digits": 16.0, "mnist": 255.0, "fashion-mnist": 255.0}
_TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


@dataclass(frozen=True)
class Source:
    """Raw arrays N × …; what is not given officially is split off `train` later. scale: values are divided by it."""

    train: Array
    val: Array | None
    test: Array | None
    scale: float


def data_dir(chosen: str | Path | None = None) -> Path:
    """Where built-in sets are kept: the argument, else VAE_TUNER_DATA, else ~/.cache/vae-tuner."""
    return (
        Path(chosen or os.environ.get("VAE_TUNER_DATA") or Path.home() / ".cache" / "vae-tuner").expanduser().resolve()
    )


def is_path(name: str) -> bool:
    """Whether a data set's name means a file of the user's."""
    return Path(name).suffix in (".npy", ".npz")


def read(name: str, root: Path) -> Source:
    """The raw arrays of a data set; prepares a built-in one on first use."""
    if is_path(name):
        return _read_user_file(Path(name).expanduser())
    if name not in DATASETS:
        raise DataError(f"data.name: {name!r} is no known data set{suggest(name, DATASETS)}; or a path to .npy or .npz")
    folder = root / "prepared" / name
    if not (folder / "train.npy").exists():
        _prepare(name, root, folder)
    test = folder / "test.npy"
    return Source(
        np.load(folder / "train.npy", mmap_mode="r"),
        None,
        np.load(test, mmap_mode="r") if test.exists() else None,
        _SCALE[name],
    )


def _prepare(name: str, root: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if not (folder / "train.npy").exists():
                arrays = {"train": _digits()} if name == "digits" else _torchvision(name, root)
                for part in sorted(arrays):  # train.npy last: its presence says that all is there
                    _save(folder / f"{part}.npy", arrays[part])
    except OSError as error:
        raise DataError(
            f"data.name: {name} could not be prepared in {root}: {error}; choose a writable folder with --data-dir or "
            "VAE_TUNER_DATA"
        ) from None


def _save(path: Path, array: Array) -> None:
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, array)
    partial.replace(path)


def _digits() -> Array:
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().images, dtype=np.uint8)


def _torchvision(name: str, root: Path) -> dict[str, Array]:
    from torchvision import datasets

    dataset = getattr(datasets, _TORCHVISION[name])
    try:
        parts = {part: dataset(root, train=part == "train", download=True) for part in ("test", "train")}
    except RuntimeError as error:
        raise DataError(
            f"data.name: {name} could not be downloaded to {root}: {error}; put its files into "
            f"{root / _TORCHVISION[name] / 'raw'} or check the connection"
        ) from None
    return {part: data.data.numpy() for part, data in parts.items()}


def _read_user_file(path: Path) -> Source:
    if not path.exists():
        raise DataError(f"data.name: {path} does not exist; give the path of a .npy or .npz file")
    try:
        arrays = _read_arrays(path)
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


def _read_arrays(path: Path) -> dict[str, Array]:
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
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise DataError(f"data.name: {key} in {path} has {bad} values that are NaN or infinite; remove or impute them")


def _check_shape(path: Path, key: str, array: Array, train: Array) -> None:
    if array.shape[1:] != train.shape[1:]:
        raise DataError(
            f"data.name: {key} in {path} has examples of {array.shape[1:]}, those to train on are {train.shape[1:]}"
        )
