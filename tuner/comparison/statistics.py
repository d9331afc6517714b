"""The statistics of a comparison: the best of n trials, intervals, corrected p-values, and the price of a choice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from trainables.errors import ConfigError

Values = NDArray[np.float64]

BOOTSTRAPS = 2_000


@dataclass(frozen=True)
class Expected:
    """The expected test value of the best of n trials, with its bootstrap band."""

    n: int
    mean: float
    lo: float
    hi: float

    def signed(self, sign: float) -> Expected:
        """With its values times a sign.

        Parameters
        ----------
        sign
            1 or −1.

        Returns
        -------
        Expected
            Of the same n; its bounds change places under −1.
        """
        lo, hi = sorted((sign * self.lo, sign * self.hi))
        return Expected(self.n, sign * self.mean, lo, hi)


def best_of_n_weights(pool: int, n: int) -> Values:
    """The chance that the i-th worst of a pool is the best of n drawn without replacement: C(i−1, n−1)/C(N, n).

    The plug-in (i/N)^n − ((i−1)/N)^n draws with replacement from a finite pool and is biased. They sum to 1.

    Parameters
    ----------
    pool
        N, the trials there are.
    n
        How many are drawn, at most N.

    Returns
    -------
    array
        [N], from the worst trial to the best.

    Examples
    --------
    >>> best_of_n_weights(4, 2).round(3).tolist()
    [0.0, 0.167, 0.333, 0.5]
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

    Parameters
    ----------
    pool
        N, the trials there are.

    Returns
    -------
    int
        At least 1.
    """
    return max(1, pool // 8)


def expected_best(selected_by: Sequence[float], test: Sequence[float], n_most: int, seed: int = 0) -> list[Expected]:
    """For n = 1 … n_most the expected test value of the trial of n with the largest `selected_by`.

    Bands are percentiles of 2,000 pools drawn from the pool.

    Parameters
    ----------
    selected_by
        By trial what it is chosen by; larger is better, −inf for one that is never chosen beside another.
    test
        By trial its value on test data.
    n_most
        The largest n; the pool's size where that is smaller.
    seed
        Of the pools that are drawn.

    Returns
    -------
    list of Expected
        For n = 1, 2, …

    Examples
    --------
    >>> [round(found.mean, 3) for found in expected_best([1.0, 2.0, 3.0], [10.0, 20.0, 30.0], 3)]
    [20.0, 26.667, 30.0]
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


def chance_of_a_hit(pool: int, hits: int, n: int) -> float:
    """1 − C(N − K, n)/C(N, n): of n drawn without replacement from N with K hits, at least one is a hit.

    Parameters
    ----------
    pool
        N.
    hits
        K.
    n
        How many are drawn.

    Returns
    -------
    float
        A probability.

    Examples
    --------
    >>> round(chance_of_a_hit(10, 2, 3), 3)
    0.533
    """
    missed = 1.0
    for k in range(n):
        missed *= max(0, pool - hits - k) / (pool - k)
    return 1 - missed


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values: the k-th smallest of m times m − k + 1, never falling, at most 1 (Holm 1979).

    Rejecting where the adjusted value is at most α keeps the chance of any false rejection at α, however they depend.

    Parameters
    ----------
    p_values
        By name.

    Returns
    -------
    dict of str to float
        By name, in the same order.

    Examples
    --------
    >>> holm({"a": 0.04, "b": 0.01})
    {'a': 0.04, 'b': 0.02}
    """
    ordered = sorted(p_values, key=lambda name: p_values[name])
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(ordered):
        largest = max(largest, min(1.0, p_values[name] * (len(ordered) - rank)))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


EQUIVALENCE_ALPHA = 0.05


@dataclass(frozen=True)
class Interval:
    """A mean and the bounds it lies between; infinite bounds where one value alone is known."""

    mean: float
    lo: float
    hi: float


def mean_interval(values: Sequence[float], level: float = 0.95, common_sd: float = 0.0) -> Interval:
    """mean ± t_{S−1}·√(s²/S + c²) of S independent values.

    Parameters
    ----------
    values
        At least one.
    level
        The confidence.
    common_sd
        c, the standard deviation of an error that all of them share.

    Returns
    -------
    Interval
        Infinite bounds for a single value.

    Examples
    --------
    >>> found = mean_interval([1.0, 2.0, 3.0])
    >>> round(found.mean, 2), round(found.lo, 2), round(found.hi, 2)
    (2.0, -0.48, 4.48)
    """
    found = np.asarray(values, dtype=np.float64)
    mean = float(found.mean())
    if len(found) < 2:
        return Interval(mean, -math.inf, math.inf)
    error = math.hypot(found.std(ddof=1) / math.sqrt(len(found)), common_sd)
    half = float(stdtrit(len(found) - 1, 0.5 + level / 2)) * error
    return Interval(mean, mean - half, mean + half)


def is_equivalent(differences: Sequence[float], margin: float, common_sd: float = 0.0) -> bool:
    """Two one-sided t tests at 5 %: whether the 90 % interval lies within ±margin (Schuirmann 1987).

    Parameters
    ----------
    differences
        Independent of each other.
    margin
        What counts as no difference.
    common_sd
        The standard deviation of an error that all of them share.

    Returns
    -------
    bool
        False also where there is one difference alone.
    """
    found = mean_interval(differences, 1 - 2 * EQUIVALENCE_ALPHA, common_sd)
    return -margin < found.lo and found.hi < margin


MOST_SEEDS = 20


def fewest_seeds(alpha: float, tests: int) -> int:
    """The seeds below which no difference can be found at α among so many tests: 2^(1−S)·m ≤ α.

    Parameters
    ----------
    alpha
        The chance of a false rejection.
    tests
        m.

    Returns
    -------
    int
        S.

    Examples
    --------
    >>> fewest_seeds(0.05, 1), fewest_seeds(0.05, 4)
    (6, 8)
    """
    return math.ceil(1 + math.log2(tests / alpha))


def sign_flip_p(differences: Sequence[float]) -> float:
    """The share of all 2^S ways to flip signs whose |mean| is at least the one observed (Fisher 1935).

    Exact where each difference is as likely to be d as −d, so where neither of two methods is better; two-sided. With S
    seeds it is never below 2^(1−S).

    Parameters
    ----------
    differences
        One for each of S seeds.

    Returns
    -------
    float
        p.

    Raises
    ------
    ConfigError
        For more than 20 seeds.

    Examples
    --------
    >>> sign_flip_p([1.0, 2.0, 3.0])
    0.25
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


DRAWS = 1_000

Cell = Mapping[float, Sequence[float]]
"""A method at a level: by learning rate, J of each pilot; infinite for one that diverged."""


def best_rate(cell: Cell) -> float:
    """The learning rate of the lowest mean J.

    Parameters
    ----------
    cell
        J of each pilot, by learning rate.

    Returns
    -------
    float
        Of two equally good ones the first.
    """
    return min(cell, key=lambda rate: fmean(cell[rate]))


def selection_sds(cells: Sequence[Cell], seed: int = 0) -> list[float]:
    """How far, in root mean square over other pilots one might have had, a method's J at each of its levels moves.

    Seeds alone do not show it: the choice is the same for all of them. Where two learning rates are nearly as good, the
    pilots' noise decides which is taken; one method under two names then differs by what the choice cost, and a test
    over seeds takes that for an effect in up to a quarter of the cases. Each draw adds the pilots' noise to their
    means, chooses anew, and counts what the choice would cost by the means observed.

    Parameters
    ----------
    cells
        Of each level.
    seed
        Of the draws.

    Returns
    -------
    list of float
        By level, in nats; 0 where there was no choice.
    """
    noise = _noise_of_a_mean(cells)
    draw = np.random.default_rng(seed)
    found = []
    for cell in cells:
        means = np.array([fmean(values) for values in cell.values()])
        means = means[np.isfinite(means)]
        if len(means) > 1:
            chosen = (means + draw.normal(0, noise, size=(DRAWS, len(means)))).argmin(axis=1)
            found.append(math.sqrt(float(np.square(means[chosen] - means.min()).mean())))
        else:
            found.append(0.0)
    return found


def _noise_of_a_mean(cells: Sequence[Cell]) -> float:
    """The standard error of a mean of pilots, pooled over all cells."""
    found = [
        values for cell in cells for values in cell.values() if len(values) > 1 and all(map(math.isfinite, values))
    ]
    if not found:
        return 0.0
    freedom = sum(len(values) - 1 for values in found)
    squares = sum((value - fmean(values)) ** 2 for values in found for value in values)
    return math.sqrt(squares / freedom / fmean(map(len, found)))
