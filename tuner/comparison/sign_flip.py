"""The exact sign-flip test of paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from trainables.errors import ConfigError

__all__ = ["MOST_SEEDS", "fewest_seeds", "sign_flip_p"]

MOST_SEEDS = 20


def fewest_seeds(alpha: float, tests: int) -> int:
    """The seeds below which no difference can be found at α among so many tests: 2^(1−S)·m ≤ α."""
    return math.ceil(1 + math.log2(tests / alpha))


def sign_flip_p(differences: Sequence[float]) -> float:
    """The share of all 2^S ways to flip signs whose |mean| is at least the one observed (Fisher 1935).

    Exact where each difference is as likely to be d as −d, so where neither of two methods is better; two-sided. With S
    seeds it is never below 2^(1−S). Raises ConfigError for more than 20.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not 1 <= len(values) <= MOST_SEEDS:
        raise ConfigError(f"seeds: {len(values)} is not allowed; allowed: 1 to {MOST_SEEDS}")
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    observed = abs(values.sum())
    slack = 1e-9 * np.abs(values).sum()  # sums of the same terms in another order
    return float((np.abs(sums) >= observed - slack).mean())
