"""Q2: what do n random trials of a method buy?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainables.ranking import sign_of
from tuner.comparison.design import Trained
from tuner.comparison.statistics import Expected, expected_best
from tuner.sweeps.metrics import direction_of, on_test_data

MOST_TRIALS = 20
QUARTILES = (25, 50, 75)


@dataclass(frozen=True)
class PoolAnswer:
    """A method's pool. expected: of the best of n = 1 … 20. spread: quartiles of the test values of all its trials.
    shares: of the ways its trials ended, `ok` among them."""

    method: str
    n: int
    expected: list[Expected]
    spread: tuple[float, float, float]
    shares: dict[str, float]


def answer_quality(trained: Sequence[Trained], metric: str) -> list[PoolAnswer]:
    """What n random trials of each method buy, selected by `val/…` and reported as `test/…` of the same metric.

    A diverged trial is never selected beside another; where all that were drawn diverged, it counts as the worst value
    that any trial of all pools has reached.

    Parameters
    ----------
    trained
        The pools' runs.
    metric
        As `val/elbo_cal`.

    Returns
    -------
    list of PoolAnswer
        By method; empty where no trial at all trained to its end.
    """
    sign = sign_of(direction_of(metric))
    on_test = on_test_data(metric)
    reached = [sign * each.test[on_test] for each in trained if each.completed]
    if not reached:
        return []
    worst = min(reached)
    answers = []
    for method in dict.fromkeys(each.run.method for each in trained):
        own = [each for each in trained if each.run.method == method]
        score = [sign * each.val[metric] if each.completed else -math.inf for each in own]
        value = [sign * each.test[on_test] if each.completed else worst for each in own]
        expected = [found.signed(sign) for found in expected_best(score, value, MOST_TRIALS)]
        low, middle, high = (float(q) for q in np.percentile(sign * np.asarray(value), QUARTILES))
        answers.append(PoolAnswer(method, len(own), expected, (low, middle, high), shares_of_ends(own)))
    return answers


def shares_of_ends(own: Sequence[Trained]) -> dict[str, float]:
    """Shares of the outcomes, or of the stop reasons of those that did not train to their end; the largest first.

    Parameters
    ----------
    own
        At least one run.

    Returns
    -------
    dict of str to float
        They sum to 1.
    """
    counts = Counter(each.outcome or each.stop_reason if each.completed else each.stop_reason for each in own)
    return {name: count / len(own) for name, count in counts.most_common()}
