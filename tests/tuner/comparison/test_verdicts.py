import numpy as np
import pytest

from tuner.comparison.final_loss import judge


def at_one_level(**values):
    return {rival: {0.1: dict(enumerate(found))} for rival, found in values.items()}


def verdicts(**values):
    return {result.rival: result.verdict for result in judge(at_one_level(**values))}


def test_each_word_is_for_what_it_says():
    noise = np.random.default_rng(0).normal(0, 0.15, size=10)
    noise -= noise.mean()
    found = verdicts(
        lower=noise - 1.0, higher=noise + 1.0, equivalent=noise, small=noise - 0.2, undecided=np.tile([-2.0, 1.9], 5)
    )
    assert found == {
        "lower": "lower",
        "higher": "higher",
        "equivalent": "equivalent",
        "small": "equivalent",
        "undecided": "undecided",
    }


def test_p_values_are_corrected_for_the_number_of_rivals():
    values = [-1.0] * 6
    [alone], [among, *_] = judge(at_one_level(a=values)), judge(at_one_level(a=values, b=[1, -1] * 3, c=[1, -1] * 3))
    assert among.p == pytest.approx(3 * alone.p)


def test_half_a_nat_at_a_common_spread_is_found():
    draw = np.random.default_rng(1)
    found = [verdicts(a=draw.normal(-0.5, 0.3, size=10), b=draw.normal(0, 0.3, size=10))["a"] for _ in range(300)]
    assert np.mean([word == "lower" for word in found]) >= 0.8
