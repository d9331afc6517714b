"""A data set split and placed, and the facts about it that a configuration depends on."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from hashlib import blake2b
from operator import add
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.config import DataConfig
from trainables.cores import allotted_cores
from trainables.data import readers
from trainables.data.examples import Examples
from trainables.data.prefetch import map_ahead
from trainables.data.readers.base import Array, Source
from trainables.data.readers.prepared import Streamed, key_of, prepared_or_in_memory
from trainables.errors import DataError
from trainables.random_streams import generator

MAX_SPLIT_OFF = 5_000
MAX_VALIDATION = 10_000
DEVICE_PART = 0.25
MEAN_CHUNK = 10_000
ROUNDING = 1e-6
"""By how much of its scale a value may miss 0 or 1 and still count as it: sums and conversions of floats leave that."""


@dataclass(frozen=True)
class DataFacts:
    """The facts about the data that the driver and `resolve` need.

    shape: of one example. low, high: range of all values; 0 and 1 where they miss them by a millionth of the largest.
        bits: whether all of them are 0 or 1, within that. value_bytes: of a value as it is kept, 1 if it came as a
        byte.
    kappa_max: by constraint, the error of the mean image per element: RMS (`re`), nats (`nll`, where values lie in [0,
    1]).
        A larger κ constrains nothing.
    kappa_min: by constraint, the error that the largest model reached in a run at β → 0; None where that was not
        measured, empty where it could not be.
    pixel_noise: the RMS error of the gray values themselves against the bits that are drawn from them, the least that
    can
        be reached; 0 where no bits are drawn.
    digest: of all values before they are split, None where it is unknown.
    notes: what was left out of the user's files. n_repeated: of images, how many validation and test examples equal a
        training example or each other; 0 for other data, where they are not counted.
    """

    shape: tuple[int, ...]
    n_train: int
    n_val: int
    n_test: int
    low: float
    high: float
    bits: bool
    kappa_max: dict[str, float]
    value_bytes: int = 1
    kappa_min: dict[str, float] | None = None
    pixel_noise: float = 0.0
    digest: str | None = None
    notes: tuple[str, ...] = ()
    n_repeated: int = 0

    @property
    def n_elements(self) -> int:
        """D, the number of values of one example."""
        return int(np.prod(self.shape))

    @property
    def train_bytes(self) -> int:
        """What the training examples take."""
        return self.n_train * self.n_elements * self.value_bytes


@dataclass(frozen=True)
class _Split:
    train: Examples
    val: Examples
    test: Examples
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.train.array.shape[1:]


def _split(config: DataConfig, source: Source) -> _Split:
    """Official parts stay; what is missing is split off the training examples by split_seed."""
    order = np.random.default_rng(config.split_seed).permutation(len(source.train))
    n_held_out = max(1, min(MAX_SPLIT_OFF, len(order) // 6))

    def part(official: Array | None, at_most: int | None = None) -> Examples:
        nonlocal order
        if official is not None:
            return Examples(official, _spread(len(official), at_most or len(official)))
        held_out, order = order[:n_held_out], order[n_held_out:]
        return Examples(source.train, held_out)

    test, val = part(source.test), part(source.val, MAX_VALIDATION)
    if len(order) == 0:
        raise DataError(
            f"data.name: {config.name} has {len(source.train)} examples; at least 3 are needed to split them"
        )
    n_train = config.n_train or len(order)
    if n_train > len(order):
        raise DataError(
            f"data.n_train: {n_train} is more than the {len(order)} training examples of {config.name}; "
            f"at most {len(order)}, or none for all"
        )
    return _Split(Examples(source.train, order[:n_train]), val, test, source.scale)


def _spread(n: int, at_most: int) -> NDArray[np.int64]:
    """All of n rows, or as many as allowed, at equal distances: files are often sorted."""
    size = min(n, at_most)
    return np.arange(size) * n // size


def data_facts(config: DataConfig, root: Path) -> DataFacts:
    """Read a data set, prepare it where that is needed, and describe it as it came."""
    source = readers.read(config.name, root, config.image_size)
    split = _split(config, source)
    train, val, test = (_sums(part, split.scale) for part in (split.train, split.val, split.test))
    everything = train + val + test
    low, high = _rounded(everything.low / split.scale, everything.high / split.scale)
    mean, square_mean = (
        train.values / len(split.train) / split.scale,
        train.squares / len(split.train) / split.scale**2,
    )
    drawn = config.binarize in ("dynamic", "fixed")
    return DataFacts(
        shape=tuple(split.shape),
        n_train=len(split.train),
        n_val=len(split.val),
        n_test=len(split.test),
        low=low,
        high=high,
        bits=everything.bits and (high == 1 or low == high == 0),
        kappa_max=_kappa_max(mean, square_mean, bits=drawn, unit=low >= 0 and high <= 1),
        value_bytes=split.train.dtype.itemsize,
        pixel_noise=float(np.sqrt((mean - square_mean).mean().clip(min=0))) if drawn else 0.0,
        digest=readers.digest(config.name, root, config.image_size),
        notes=source.notes,
        n_repeated=_n_repeated(split) if source.of_files else 0,
    )


def _n_repeated(split: _Split) -> int:
    """How many validation and test examples are also in an earlier part, value by value."""
    seen: set[bytes] = set()
    n = 0
    for part in (split.train, split.val, split.test):
        digests = [blake2b(row.tobytes(), digest_size=16).digest() for rows in part.chunks() for row in rows]
        n += sum(digest in seen for digest in digests)
        seen.update(digests)
    return n


@dataclass(frozen=True)
class _Sums:
    """Of values as they came, per element over examples; low, high and bits over everything."""

    values: Array
    squares: Array
    low: float
    high: float
    bits: bool

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(
            self.values + other.values,
            self.squares + other.squares,
            min(self.low, other.low),
            max(self.high, other.high),
            self.bits and other.bits,
        )


def _sums(examples: Examples, scale: float) -> _Sums:
    """In one pass by all cores, in bounded memory; those of bytes are exact. Bits are 0 and `scale`."""

    def of(chunk: Array) -> _Sums:
        squares = np.square(chunk, dtype=np.uint16 if chunk.dtype == np.uint8 else np.float64)
        return _Sums(
            chunk.sum(0, dtype=np.float64).ravel(),
            squares.sum(0, dtype=np.float64).ravel(),
            float(chunk.min()),
            float(chunk.max()),
            _are_bits(chunk, scale),
        )

    return reduce(add, map_ahead(of, examples.chunks(), workers=allotted_cores().n))


def _are_bits(chunk: Array, scale: float) -> bool:
    if chunk.dtype.kind != "f":
        return bool(((chunk == 0) | (chunk == scale)).all())
    return bool((np.minimum(np.abs(chunk), np.abs(chunk - scale)) <= ROUNDING * scale).all())


def _rounded(low: float, high: float) -> tuple[float, float]:
    """0 or 1 where they are meant: within a millionth of the largest value, for data in a small unit are near 0 too."""
    tolerance = ROUNDING * max(abs(low), abs(high))

    def of(value: float) -> float:
        return next((bound for bound in (0.0, 1.0) if abs(value - bound) <= tolerance), value)

    return of(low), of(high)


def _kappa_max(mean: Array, square_mean: Array, *, bits: bool, unit: bool) -> dict[str, float]:
    variance = mean * (1 - mean) if bits else square_mean - mean**2
    limits = {"re": float(np.sqrt(variance.mean().clip(min=0)))}
    if unit:
        p = np.clip(mean, 1e-12, 1 - 1e-12)
        limits["nll"] = float(-(p * np.log(p) + (1 - p) * np.log(1 - p)).mean())
    return limits


@dataclass(frozen=True)
class Dataset:
    """Flat examples [N, D] on the device, as bytes where they came as bytes; values are divided by `scale` when read.

    train: `Examples` where they stay in host memory, in files that all processes of the node map. dynamic: training
        batches are binarised afresh at every step; validation and test were binarised once. ahead: training batches are
        gathered from host memory ahead of the step that takes them. None of it shows in the numbers.
    digest: of all values before they were split, None where it is unknown.
    """

    shape: tuple[int, ...]
    train: Tensor | Examples
    val: Tensor
    test: Tensor
    scale: float
    dynamic: bool
    ahead: bool = False
    digest: str | None = None
    _evaluated: dict[tuple[str, int, int], Tensor] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def device(self) -> torch.device:
        """Where batches come to lie."""
        return self.val.device

    def evaluated(self, part: str, n_train: int, seed: int) -> Tensor:
        """The examples of an evaluation, in the units of the model. part: `val`, `test`, or `train_eval` for the first
        n_train training examples, in the bits of a seed where they are drawn.
        """
        if part == "test":
            return self.floats(self.test)
        key = part, n_train, seed
        if key not in self._evaluated:
            rows = torch.arange(min(n_train, len(self.train)), device=self.device)
            made = self.train_batch(rows, seed, step=0) if part == "train_eval" else self.floats(self.val)
            self._evaluated[key] = made
        return self._evaluated[key]

    def floats(self, values: Tensor) -> Tensor:
        """Examples in the units of the model."""
        return _floats(values, self.scale)

    @cached_property
    def train_mean(self) -> Tensor:
        """The mean image of the training examples, in the units of the model. [D]."""
        total = reduce(add, (chunk.sum(0, dtype=torch.float64) for chunk in self._train_chunks()))
        return (total / len(self.train) / self.scale).float().to(self.device)

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """The lowest and the highest value of all examples, in the units of the model."""
        parts = (part for parts in (self._train_chunks(), (self.val, self.test)) for part in parts)
        lows, highs = zip(*((float(part.min()), float(part.max())) for part in parts), strict=True)
        return min(lows) / self.scale, max(highs) / self.scale

    def _train_chunks(self) -> Iterable[Tensor]:
        train = self.train
        return train.flat_chunks() if isinstance(train, Examples) else torch.split(train, MEAN_CHUNK)

    def train_batch(self, index: Tensor, seed: int, step: int) -> Tensor:
        """The training examples of an index, as the model sees them at a step. [B] → [B, D]."""
        if isinstance(self.train, Examples):
            return self._as_seen(self.train.take(index.cpu().numpy()).to(self.device), seed, step)
        return self._as_seen(self.train.index_select(0, index), seed, step)

    def train_batches(self, order: Sequence[Tensor], seed: int, first_step: int) -> Generator[Tensor, None, None]:
        """`train_batch` of each index in turn, at the steps from `first_step` on; closing it ends what runs ahead."""
        if isinstance(self.train, Examples):
            yield from self._gathered(self.train, order, seed, first_step)
            return
        for step, index in enumerate(order, first_step):
            yield self.train_batch(index, seed, step)

    def _gathered(self, train: Examples, order: Sequence[Tensor], seed: int, first_step: int) -> Iterator[Tensor]:
        """From pinned memory the copy to a GPU does not wait; the index comes from there once."""
        pinned = self.device.type == "cuda"

        def gather(index: NDArray[np.int64]) -> Tensor:
            batch = train.take(index)
            return batch.pin_memory() if pinned else batch

        sizes = np.cumsum([len(index) for index in order])[:-1]
        indices = np.split(torch.cat(list(order)).cpu().numpy(), sizes)
        with closing(map_ahead(gather, indices, workers=int(self.ahead))) as batches:
            for step, batch in enumerate(batches, first_step):
                yield self._as_seen(batch.to(self.device, non_blocking=True), seed, step)

    def _as_seen(self, raw: Tensor, seed: int, step: int) -> Tensor:
        batch = self.floats(raw)
        return _draw_bits(batch, generator(self.device, seed, "bits/train", step)).float() if self.dynamic else batch


def load(config: DataConfig, root: Path, device: torch.device, memory_share: float = 1.0) -> Dataset:
    """A data set, placed for training on a device. memory_share: the part of its memory that the trial may count on."""
    split = _split(config, readers.mapped(config.name, root, config.image_size))
    if config.binarize in ("dynamic", "fixed"):
        split = _with_bits(split, config, root)
    held = held_on_device(split.train.n_bytes, device, memory_share)
    return Dataset(
        split.shape,
        split.train.tensor(device) if held and device.type != "cpu" else split.train,
        split.val.tensor(device),
        split.test.tensor(device),
        split.scale,
        dynamic=config.binarize == "dynamic",
        ahead=not held,
        digest=readers.digest(config.name, root, config.image_size),
    )


def held_on_device(n_bytes: int, device: torch.device, memory_share: float) -> bool:
    """Whether the device's memory holds the training examples: if they take at most a quarter of the trial's share."""
    return n_bytes <= DEVICE_PART * memory_share * memory_bytes(device)


def memory_bytes(device: torch.device) -> int:
    """All memory of a device; of the CPU the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _with_bits(split: _Split, config: DataConfig, root: Path) -> _Split:
    """Bits drawn once from split_seed: the same for all trials; training bits stay gray where they are dynamic."""

    def fixed(part: str) -> Examples:
        gray: Examples = getattr(split, part)
        folder = root / "prepared" / "bits" / part / key_of(gray.array, gray.rows, split.scale, config.split_seed)
        name = f"{config.name} in bits"
        bits = prepared_or_in_memory(
            folder, name, split.scale, lambda: {"train": _drawn(gray, split.scale, config.split_seed, part)}
        )
        return Examples(bits.train, np.arange(len(gray)))

    train = split.train if config.binarize == "dynamic" else fixed("train")
    return replace(split, train=train, val=fixed("val"), test=fixed("test"))


def _drawn(gray: Examples, scale: float, seed: int, part: str) -> Streamed:
    """0 or `scale`, each with its value as the probability, in the order of the examples."""

    def rows() -> Iterator[Array]:
        draw = generator("cpu", seed, f"bits/{part}/fixed")
        for chunk in gray.flat_chunks():
            bits = _draw_bits(_floats(chunk, scale), draw).to(torch.uint8) * int(scale)
            yield bits.reshape(-1, *gray.array.shape[1:]).numpy()

    return Streamed((len(gray), *gray.array.shape[1:]), np.dtype(np.uint8), rows())


def _floats(values: Tensor, scale: float) -> Tensor:
    return values.float() * (1 / scale)


def _draw_bits(probabilities: Tensor, draw: torch.Generator) -> Tensor:
    """Whether each bit is 1."""
    return torch.rand(probabilities.shape, generator=draw, device=probabilities.device) < probabilities
