import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.errors import ConfigError
from tuner.comparison.statistics import MOST_SEEDS, fewest_seeds, sign_flip_p

differences = st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=1, max_size=8)


@given(differences)
def test_it_counts_all_flips(values):
    flips = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    assert sign_flip_p(values) == pytest.approx(np.mean([flip >= abs(sum(values)) - 1e-9 for flip in flips]))


@given(differences)
def test_which_method_comes_first_does_not_matter(values):
    assert sign_flip_p(values) == sign_flip_p([-value for value in values])


@pytest.mark.parametrize("n", [1, 5, 6, 10])
def test_no_p_is_below_what_the_seeds_allow(n):
    assert sign_flip_p([1.0] * n) == 2.0 ** (1 - n)


@pytest.mark.parametrize("tests", [1, 2, 4, 5])
def test_fewer_seeds_than_needed_find_nothing(tests):
    n = fewest_seeds(0.05, tests)
    assert tests * sign_flip_p([1.0] * n) <= 0.05 < tests * sign_flip_p([1.0] * (n - 1))


def test_under_the_null_it_rejects_as_often_as_it_says():
    draw = np.random.default_rng(0)
    p_values = np.array([sign_flip_p(draw.standard_t(3, size=8)) for _ in range(4000)])
    for alpha in (0.05, 0.1, 0.5):
        assert (p_values <= alpha).mean() == pytest.approx(alpha, abs=0.015)


@pytest.mark.parametrize("n", [0, MOST_SEEDS + 1])
def test_a_number_of_seeds_that_cannot_be_tested_is_refused(n):
    with pytest.raises(ConfigError, match=f"seeds: {n} is not allowed; allowed: 1 to 20"):
        sign_flip_p([0.1] * n)
