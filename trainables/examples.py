"""Examples that stay where they are until they are taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.sources.base import Array

__all__ = ["Examples"]

CHUNK_VALUES = 2**20


@dataclass(frozen=True)
class Examples:
    """Rows of an array [N, *shape] that stays where it is: in host memory, or mapped from a file."""

    array: Array
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the tensor these examples make."""
        return len(self), int(np.prod(self.array.shape[1:]))

    @property
    def dtype(self) -> torch.dtype:
        """What a value is kept as: a byte if it came as one."""
        return torch.uint8 if self.array.dtype in (np.uint8, np.bool_) else torch.float32

    @property
    def n_bytes(self) -> int:
        """What they take as a tensor."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def take(self, index: NDArray[np.int64]) -> Tensor:
        """Some of the examples. [B] → [B, D]."""
        return self._flat(self.array[self.rows[index]])

    def chunks(self) -> Iterator[Array]:
        """All of them as they came, in parts that fit in memory as floats."""
        for start in range(0, len(self), self._chunk_size):
            yield self.array[self.rows[start : start + self._chunk_size]]

    def flat_chunks(self) -> Iterator[Tensor]:
        """The same as they are kept. [n, D]."""
        return map(self._flat, self.chunks())

    def tensor(self, device: torch.device) -> Tensor:
        """All of them. [N, D]."""
        found = torch.empty(self.shape, dtype=self.dtype, device=device)
        for rows, chunk in zip(torch.split(found, self._chunk_size), self.flat_chunks(), strict=True):
            rows.copy_(chunk)
        return found

    @property
    def _chunk_size(self) -> int:
        return max(1, CHUNK_VALUES // self.shape[1])

    def _flat(self, values: Array) -> Tensor:
        kept = np.uint8 if self.dtype == torch.uint8 else np.float32
        return torch.from_numpy(values.reshape(len(values), -1).astype(kept, order="C", copy=False))
