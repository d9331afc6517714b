"""The form that every data set is read into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Source:
    """Raw arrays, one example a row. The parts that a data set does not have are split off `train` later.

    Attributes
    ----------
    train, val, test
        N × …
    scale
        Values are divided by it.
    notes
        What was left out of the user's files, a sentence each.
    of_files
        Whether each example is a file of its own.
    """

    train: Array
    val: Array | None
    test: Array | None
    scale: float
    notes: tuple[str, ...] = ()
    of_files: bool = False


def kept_as(array: Array) -> np.dtype[Any]:
    """The type that values are kept in: bytes if they came as bytes or bits, else float32.

    Parameters
    ----------
    array
        As it was read.

    Returns
    -------
    numpy.dtype
        uint8 or float32.
    """
    return np.dtype(np.uint8 if array.dtype in (np.uint8, np.bool_) else np.float32)


def in_parts(array: Array) -> Iterator[Array]:
    """Some rows at a time, since a file may be larger than memory.

    Parameters
    ----------
    array
        One example a row.

    Returns
    -------
    Iterator of array
        All rows, in order.
    """
    yield from np.array_split(array, 1 + array.size // 2**22)
