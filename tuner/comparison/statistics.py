"""What n random trials buy: the expected test value of the one that validation selects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Expected", "best_of_n_weights", "expected_best", "most_trusted"]

Values = NDArray[np.float64]

BOOTSTRAPS = 2_000


@dataclass(frozen=True)
class Expected:
    """The expected test value of the best of n trials, with its bootstrap band."""

    n: int
    mean: float
    lo: float
    hi: float


def best_of_n_weights(pool: int, n: int) -> Values:
    """The chance that the i-th worst of a pool is the best of n drawn without replacement: C(i−1, n−1)/C(N, n).

    The plug-in (i/N)^n − ((i−1)/N)^n draws with replacement from a finite pool and is biased. [N], summing to 1.
    """
    # C(i−1, n−1)/C(N, n) = (n/N)·Π_{k=1}^{n−1} (i−k)/(N−k)
    ranks = np.arange(1, pool + 1, dtype=np.float64)
    weights = np.full(pool, n / pool)
    for k in range(1, n):
        weights *= np.clip(ranks - k, 0, None) / (pool - k)
    return weights


def most_trusted(pool: int) -> int:
    """The largest n whose band can be trusted: an eighth of the pool.

    No bootstrapped pool holds a better trial than the pool itself, so that bands of larger n are too narrow. Simulated
    95 % bands held the truth in 85 to 94 % of cases up to an eighth (N = 24, 64), in 55 to 88 % at n = 20.
    """
    return max(1, pool // 8)


def expected_best(selected_by: Sequence[float], test: Sequence[float], n_most: int, seed: int = 0) -> list[Expected]:
    """For n = 1 … n_most the expected test value of the trial of n with the largest `selected_by`.

    selected_by: larger is better; −inf for a trial that cannot be selected beside any other (a diverged one). Bands are
    percentiles of 2,000 pools drawn from the pool.
    """
    score, value = np.asarray(selected_by, dtype=np.float64), np.asarray(test, dtype=np.float64)
    size = len(score)
    weights = np.stack([best_of_n_weights(size, n) for n in range(1, min(n_most, size) + 1)])
    draws = np.random.default_rng(seed).integers(size, size=(BOOTSTRAPS, size))
    pools = _worst_first(score[draws], value[draws]) @ weights.T
    lo, hi = np.percentile(pools, [2.5, 97.5], axis=0)
    means = weights @ _worst_first(score[None], value[None])[0]
    return [Expected(n, *map(float, row)) for n, row in enumerate(zip(means, lo, hi, strict=True), 1)]


def _worst_first(score: Values, value: Values) -> Values:
    """The values of pools [P, N] in the order of their scores."""
    order = np.argsort(score, axis=1, kind="stable")
    return np.take_along_axis(value, order, axis=1)
