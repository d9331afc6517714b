import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from tuner.comparison.statistics import Interval, is_equivalent, mean_interval


def test_it_is_scipys_interval():
    values = np.random.default_rng(0).normal(1, 2, size=9)
    theirs = ttest_1samp(values, 0).confidence_interval(0.95)
    ours = mean_interval(values)
    assert (ours.lo, ours.hi) == pytest.approx((theirs.low, theirs.high))


def test_it_covers_as_often_as_it_says():
    pools = np.random.default_rng(1).normal(0.3, 1, size=(4000, 6))
    found = [mean_interval(pool) for pool in pools]
    assert np.mean([each.lo <= 0.3 <= each.hi for each in found]) == pytest.approx(0.95, abs=0.015)


def test_one_value_says_nothing_of_its_spread():
    assert mean_interval([2.0]) == Interval(2.0, -math.inf, math.inf)
    assert not is_equivalent([0.0], 0.5)


def test_equivalence_is_two_one_sided_tests_at_five_percent():
    draw = np.random.default_rng(2)
    for values in draw.normal(0.2, 0.4, size=(200, 8)):
        above = ttest_1samp(values, -0.5, alternative="greater").pvalue
        below = ttest_1samp(values, 0.5, alternative="less").pvalue
        assert is_equivalent(values, 0.5) == (max(above, below) < 0.05)


def test_a_difference_of_the_margin_is_seldom_called_equivalent():
    pools = np.random.default_rng(3).normal(0.5, 0.5, size=(4000, 10))
    assert np.mean([is_equivalent(pool, 0.5) for pool in pools]) <= 0.06
