import itertools
from math import comb

import numpy as np
import pytest

from tuner.comparison import statistics as expected_best_module
from tuner.comparison.statistics import best_of_n_weights, expected_best, most_trusted


@pytest.mark.parametrize(("pool", "n"), [(1, 1), (7, 1), (7, 3), (7, 7), (64, 20), (2000, 1500)])
def test_the_weights_are_the_chances_of_being_the_best(pool, n):
    weights = best_of_n_weights(pool, n)
    assert weights.sum() == pytest.approx(1)
    expected = [comb(i - 1, n - 1) / comb(pool, n) for i in range(1, pool + 1)]
    assert weights == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_it_is_the_mean_over_all_subsets():
    draw = np.random.default_rng(0)
    score, test = draw.normal(size=8), draw.normal(size=8)
    for found in expected_best(score, test, 8):
        subsets = itertools.combinations(range(8), found.n)
        assert found.mean == pytest.approx(np.mean([test[max(subset, key=lambda i: score[i])] for subset in subsets]))


def test_it_is_unbiased_where_the_plug_in_is_not():
    draw = np.random.default_rng(1)
    n, size = 5, 12
    truth = draw.normal(size=(200_000, n)).max(axis=1).mean()
    pools = np.sort(draw.normal(size=(20_000, size)), axis=1)
    ranks = np.arange(1, size + 1)
    plug_in = (ranks / size) ** n - ((ranks - 1) / size) ** n
    assert (pools @ best_of_n_weights(size, n)).mean() == pytest.approx(truth, abs=0.01)
    assert (pools @ plug_in).mean() < truth - 0.05


def test_what_diverged_is_selected_only_where_all_did():
    score, test = [-np.inf, -np.inf, 1.0], [-1000.0, -1000.0, 5.0]
    found = expected_best(score, test, 3)
    assert found[0].mean == pytest.approx((5 - 2000) / 3)
    assert found[1].mean == pytest.approx((2 * 5 - 1000) / 3)
    assert found[2].mean == 5


def test_more_trials_never_hurt_where_selection_is_right():
    values = np.random.default_rng(2).normal(size=30)
    found = expected_best(values, values, 20)
    assert len(found) == 20
    assert all(a.mean <= b.mean for a, b in itertools.pairwise(found))
    assert all(each.lo <= each.mean <= each.hi for each in found)


@pytest.mark.parametrize("size", [24, 64])
def test_bands_hold_the_truth_of_new_pools_as_far_as_they_are_trusted(size, monkeypatch):
    """By fewer bootstraps than the answer takes, which moves a band's ends by noise alone."""
    monkeypatch.setattr(expected_best_module, "BOOTSTRAPS", 400)
    draw = np.random.default_rng(3)
    n = most_trusted(size)
    covered = {n: [], 20: []}
    truth = {n: draw.normal(size=(200_000, n)).max(axis=1).mean() for n in covered}
    for _ in range(300):
        pool = draw.normal(size=size)
        found = expected_best(pool, pool, 20)
        for each in covered:
            covered[each].append(found[each - 1].lo <= truth[each] <= found[each - 1].hi)
    assert 0.82 <= np.mean(covered[n]) <= 0.98
    assert np.mean(covered[20]) < 0.82
