import pytest

from search_spaces.learning_rate import CLR


@pytest.mark.parametrize("step_size", CLR.dimensions["lr.step_size"].options)
def test_whole_cycles_fill_the_budget(step_size):
    assert 0.5 / step_size == round(0.5 / step_size)


def test_a_cycle_rises_wherever_its_bounds_are_drawn():
    assert CLR.dimensions["lr.base"].high < CLR.dimensions["lr.max"].low
