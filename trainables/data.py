"""A data set split and put on the device, and the facts about it that a configuration depends on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables import sources
from trainables.config import DataConfig
from trainables.errors import DataError
from trainables.random_streams import generator

__all__ = ["DataFacts", "Dataset", "data_facts", "load"]

Array = NDArray[Any]

MAX_VALIDATION = 5_000


@dataclass(frozen=True)
class DataFacts:
    """What the driver and `resolve` need to know of the data.

    shape: of one example. low, high: range of all values. bits: all of them are 0 or 1.
    kappa_max: by constraint, what the mean image reaches per element: the RMS error (`re`), the nats (`nll`, where
        values lie in [0, 1]). A larger κ constrains nothing.
    """

    shape: tuple[int, ...]
    n_train: int
    n_val: int
    n_test: int
    low: float
    high: float
    bits: bool
    kappa_max: dict[str, float]

    @property
    def n_elements(self) -> int:
        """D, the number of values of one example."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class _Split:
    train: Array
    val: Array
    test: Array
    scale: float


def _split(config: DataConfig, root: Path) -> _Split:
    """Official test sets stay; what is missing is split off the training examples by split_seed."""
    source = sources.read(config.name, root)
    train, val, test = source.train, source.val, source.test
    order = np.random.default_rng(config.split_seed).permutation(len(train))
    n_held_out = max(1, min(MAX_VALIDATION, len(train) // 6))
    if test is None:
        test, order = train[order[:n_held_out]], order[n_held_out:]
    if val is None:
        val, order = train[order[:n_held_out]], order[n_held_out:]
    if len(order) == 0:
        raise DataError(f"data.name: {config.name} has {len(train)} examples; at least 3 are needed to split them")
    n_train = config.n_train or len(order)
    if n_train > len(order):
        raise DataError(
            f"data.n_train: {n_train} is more than the {len(order)} training examples of {config.name}; "
            f"at most {len(order)}, or none for all"
        )
    return _Split(train[order[:n_train]], val, test, source.scale)


def data_facts(config: DataConfig, root: Path) -> DataFacts:
    """Read a data set, prepare it where that is needed, and describe it."""
    split = _split(config, root)
    pixel_mean = split.train.mean(0, dtype=np.float64).ravel() / split.scale
    squares = sum(np.square(part / split.scale).sum(0) for part in _chunks(split.train))
    parts = (split.train, split.val, split.test)
    low, high = (
        float(min(part.min() for part in parts)) / split.scale,
        float(max(part.max() for part in parts)) / split.scale,
    )
    return DataFacts(
        shape=tuple(split.train.shape[1:]),
        n_train=len(split.train),
        n_val=len(split.val),
        n_test=len(split.test),
        low=low,
        high=high,
        bits=all(map(_are_bits, parts)),
        kappa_max=_kappa_max(
            pixel_mean,
            np.ravel(squares) / len(split.train),
            bits=config.binarize in ("dynamic", "fixed"),
            unit=low >= 0 and high <= 1,
        ),
    )


def _chunks(array: Array) -> list[Array]:
    """Parts that fit in memory as floats."""
    return np.array_split(array, max(1, array.size // 2**22))


def _are_bits(array: Array) -> bool:
    return bool(all(np.isin(chunk, (0, 1)).all() for chunk in _chunks(array)))


def _kappa_max(mean: Array, square_mean: Array, *, bits: bool, unit: bool) -> dict[str, float]:
    variance = mean * (1 - mean) if bits else square_mean - mean**2
    limits = {"re": float(np.sqrt(variance.mean()))}
    if unit:
        p = np.clip(mean, 1e-12, 1 - 1e-12)
        limits["nll"] = float(-(p * np.log(p) + (1 - p) * np.log(1 - p)).mean())
    return limits


@dataclass(frozen=True)
class Dataset:
    """Flat examples [N, D] on the device, as bytes where they came as bytes; values are divided by `scale` when read.

    dynamic: training batches are binarised afresh at every step; validation and test were binarised once.
    """

    shape: tuple[int, ...]
    train: Tensor
    val: Tensor
    test: Tensor
    scale: float
    dynamic: bool

    def floats(self, values: Tensor) -> Tensor:
        """Examples in the units of the model."""
        return values.float() * (1 / self.scale)

    def train_batch(self, index: Tensor, seed: int, step: int) -> Tensor:
        """The training examples of an index, as the model sees them at a step. [B] → [B, D]."""
        batch = self.floats(self.train.index_select(0, index))
        return _draw_bits(batch, seed, "bits/train", step) if self.dynamic else batch

    def train_batches(self, order: Sequence[Tensor], seed: int, first_step: int) -> Iterator[Tensor]:
        """`train_batch` of each index in turn, at the steps from `first_step` on."""
        for i, index in enumerate(order):
            yield self.train_batch(index, seed, first_step + i)


def load(config: DataConfig, root: Path, device: torch.device) -> Dataset:
    """A data set on the device."""
    split = _split(config, root)
    parts = {name: _tensor(getattr(split, name), device) for name in ("train", "val", "test")}
    dataset = Dataset(tuple(split.train.shape[1:]), **parts, scale=split.scale, dynamic=config.binarize == "dynamic")
    return dataset if config.binarize in ("none", "soft") else _with_bits(dataset, config)


def _tensor(array: Array, device: torch.device) -> Tensor:
    flat = np.ascontiguousarray(array.reshape(len(array), -1))
    flat = flat.astype(np.uint8 if flat.dtype in (np.uint8, np.bool_) else np.float32)
    return torch.from_numpy(flat).to(device)


def _with_bits(dataset: Dataset, config: DataConfig) -> Dataset:
    """Bits drawn once from split_seed: the same for all trials; training bits stay gray where they are dynamic."""

    def fixed(part: str) -> Tensor:
        values = dataset.floats(getattr(dataset, part))
        return _draw_bits(values, config.split_seed, f"bits/{part}/fixed", 0) * dataset.scale

    train = dataset.train if dataset.dynamic else fixed("train")
    return Dataset(dataset.shape, train, fixed("val"), fixed("test"), dataset.scale, dataset.dynamic)


def _draw_bits(probabilities: Tensor, seed: int, purpose: str, position: int) -> Tensor:
    device = probabilities.device
    uniform = torch.rand(probabilities.shape, generator=generator(device, seed, purpose, position), device=device)
    return (uniform < probabilities).float()
