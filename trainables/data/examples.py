"""Examples that stay where they are until they are taken."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.data.readers.base import Array, kept_as

CHUNK_VALUES = 2**20


@dataclass(frozen=True)
class Examples:
    """Rows of an array [N, *shape] that stays where it is: in host memory, or mapped from a file.

    Tensors are made of arrays that hold bytes or float32, one example after the other; any can be looked at in chunks.
    """

    array: Array
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the tensor that these examples make."""
        return len(self), int(np.prod(self.array.shape[1:]))

    @property
    def dtype(self) -> torch.dtype:
        """The type that values are kept in: a byte if they came as bytes."""
        return torch.uint8 if kept_as(self.array) == np.uint8 else torch.float32

    @property
    def n_bytes(self) -> int:
        """The bytes that they take as a tensor."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def take(self, index: NDArray[np.int64]) -> Tensor:
        """Some of the examples. [B] → [B, D]."""
        return torch.from_numpy(self._flat.take(self.rows.take(index), axis=0))

    def chunks(self) -> Iterator[Array]:
        """All of them as they came, in parts that fit in memory as floats."""
        for rows in self._row_chunks():
            yield self.array[rows]

    def flat_chunks(self) -> Iterator[Tensor]:
        """The same as tensors. [n, D]."""
        for rows in self._row_chunks():
            yield torch.from_numpy(self._flat.take(rows, axis=0))

    def tensor(self, device: torch.device) -> Tensor:
        """All of them, to be read alone: on the CPU those that lie one after the other stay where they are. [N, D]."""
        if device.type == "cpu" and len(self) == self.rows[-1] - self.rows[0] + 1 and (np.diff(self.rows) == 1).all():
            return _unwritten(self._flat[self.rows[0] : self.rows[-1] + 1])
        found = torch.empty(self.shape, dtype=self.dtype, device=device)
        for rows, chunk in zip(torch.split(found, self._chunk_size), self.flat_chunks(), strict=True):
            rows.copy_(chunk)
        return found

    def _row_chunks(self) -> Iterator[NDArray[np.int64]]:
        for start in range(0, len(self), self._chunk_size):
            yield self.rows[start : start + self._chunk_size]

    @property
    def _chunk_size(self) -> int:
        return max(1, CHUNK_VALUES // self.shape[1])

    @cached_property
    def _flat(self) -> Array:
        """The whole array, without what a mapped one does for every view of it. [N, D]."""
        return np.asarray(self.array).reshape(len(self.array), -1)


def _unwritten(values: Array) -> Tensor:
    """Over the same memory, of which torch would warn that it cannot be written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(values)
