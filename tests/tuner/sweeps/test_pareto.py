import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.sweeps.metrics import pareto_front

DIRECTIONS = st.lists(st.sampled_from(["max", "min"]), min_size=1, max_size=3)


def dominates(one, other, directions):
    """By the definition, value by value."""
    signs = [1 if direction == "max" else -1 for direction in directions]
    gains = [sign * (mine - yours) for sign, mine, yours in zip(signs, one, other, strict=True)]
    return min(gains) >= 0 and max(gains) > 0


@given(st.data(), DIRECTIONS)
def test_a_row_is_on_the_front_unless_another_dominates_it(data, directions):
    row = st.tuples(*[st.integers(0, 3) for _ in directions])
    values = data.draw(st.lists(row, max_size=12))
    expected = [n for n, own in enumerate(values) if not any(dominates(other, own, directions) for other in values)]
    assert pareto_front(values, directions) == expected


def test_of_one_column_the_front_is_every_best_row():
    assert pareto_front([[1.0], [3.0], [2.0], [3.0]], ["max"]) == [1, 3]
    assert pareto_front([[1.0], [3.0], [1.0]], ["min"]) == [0, 2]


def test_directions_differ_by_column():
    values = [[0.1, 1.0], [0.2, 2.0], [0.1, 2.0]]
    assert pareto_front(values, ["min", "max"]) == [2]
    assert pareto_front(values, ["min", "min"]) == [0]
    assert pareto_front(values, ["max", "max"]) == [1]


@pytest.mark.parametrize(("bad", "column"), list(product([math.nan, math.inf, -math.inf], [0, 1])))
def test_what_is_not_finite_is_never_on_the_front_and_beats_nothing(bad, column):
    row = [5.0, 5.0]
    row[column] = bad
    assert pareto_front([[1.0, 1.0], row], ["max", "max"]) == [0]
    assert pareto_front([row], ["max", "max"]) == []


def test_nothing_has_an_empty_front():
    assert pareto_front([], ["max", "min"]) == []


def test_a_direction_for_each_column_is_needed():
    with pytest.raises(ValueError, match="2 columns and 1 directions"):
        pareto_front([[1.0, 2.0]], ["max"])
