"""What every data set is read as."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Source:
    """Raw arrays N × …; what is not given officially is split off `train` later. scale: values are divided by it.
    notes: what of the user's files was not taken, a sentence each. of_files: whether each example is a file of theirs.
    """

    train: Array
    val: Array | None
    test: Array | None
    scale: float
    notes: tuple[str, ...] = ()
    of_files: bool = False


def kept_as(array: Array) -> np.dtype[Any]:
    """What values are trained from: bytes if they came as bytes or bits, else float32."""
    return np.dtype(np.uint8 if array.dtype in (np.uint8, np.bool_) else np.float32)


def in_parts(array: Array) -> Iterator[Array]:
    """Some rows at a time: a file may be more than memory holds."""
    yield from np.array_split(array, 1 + array.size // 2**22)
