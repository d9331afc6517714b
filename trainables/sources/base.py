"""What every data set is read as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["Array", "Source"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Source:
    """Raw arrays N × …; what is not given officially is split off `train` later. scale: values are divided by it."""

    train: Array
    val: Array | None
    test: Array | None
    scale: float
