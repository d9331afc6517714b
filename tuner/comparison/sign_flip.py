"""The exact sign-flip test of paired differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainables.errors import ConfigError

__all__ = ["MOST_SEEDS", "sign_flip_p"]

MOST_SEEDS = 20


def sign_flip_p(differences: Sequence[float]) -> float:
    """The share of all 2^S ways to flip signs whose |mean| is at least the one observed (Fisher 1935).

    Exact where each difference is as likely to be d as −d, so where neither of two methods is better; two-sided. With S
    seeds it is never below 2^(1−S): 5 give .0625 at best, 6 are needed for .05. Raises ConfigError for more than 20.
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
