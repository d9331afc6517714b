import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.comparison.statistics import holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=6).map(lambda ps: dict(zip("abcdef", ps, strict=False)))


def test_an_example_by_hand():
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    )


@given(p_values)
def test_between_no_correction_and_bonferroni(values):
    for name, adjusted in holm(values).items():
        assert values[name] <= adjusted <= min(1, values[name] * len(values)) or adjusted >= max(values.values())
        assert adjusted <= 1


@given(p_values)
def test_the_order_stays(values):
    adjusted = holm(values)
    assert list(adjusted) == list(values)
    ordered = sorted(values, key=lambda name: values[name])
    assert sorted(adjusted[name] for name in ordered) == [adjusted[name] for name in ordered]


def test_it_keeps_the_chance_of_any_false_rejection():
    draw = np.random.default_rng(1)
    families = draw.uniform(size=(5000, 4))
    false = [min(holm(dict(enumerate(map(float, ps)))).values()) <= 0.05 for ps in families]
    assert np.mean(false) <= 0.06
