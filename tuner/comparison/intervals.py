"""Student's interval of a mean, and the equivalence test that it answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

__all__ = ["Interval", "is_equivalent", "mean_interval"]

EQUIVALENCE_ALPHA = 0.05


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds it lies between; infinite bounds where one value alone is known."""

    mean: float
    lo: float
    hi: float


def mean_interval(values: Sequence[float], level: float = 0.95, common_sd: float = 0.0) -> Interval:
    """mean ± t_{S−1}·√(s²/S + c²) of S independent values. common_sd: c, of an error that all of them share."""
    found = np.asarray(values, dtype=np.float64)
    mean = float(found.mean())
    if len(found) < 2:
        return Interval(mean, -math.inf, math.inf)
    error = math.hypot(found.std(ddof=1) / math.sqrt(len(found)), common_sd)
    half = float(stdtrit(len(found) - 1, 0.5 + level / 2)) * error
    return Interval(mean, mean - half, mean + half)


def is_equivalent(differences: Sequence[float], margin: float, common_sd: float = 0.0) -> bool:
    """Two one-sided t tests at 5 %: whether the 90 % interval lies within ±margin (Schuirmann 1987)."""
    found = mean_interval(differences, 1 - 2 * EQUIVALENCE_ALPHA, common_sd)
    return -margin < found.lo and found.hi < margin
