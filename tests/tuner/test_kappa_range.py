"""What a plan makes of GECO's range of κ."""

import pytest

from tuner.planning.plans import make_plan
from tuner.spec import parse_spec


@pytest.mark.parametrize(
    ("data", "constraint", "low"),
    [({}, "re", 0.45), ({"binarize": "fixed"}, "nll", 0.58), ({"binarize": "dynamic"}, "nll", 0.58)],
)
@pytest.mark.parametrize("space", ["geco", "geco-vs-annealing"])
def test_kappa_is_searched_where_its_constraint_can_be_met(space, data, constraint, low, vae_data_root):
    plan = make_plan(parse_spec({"space": space, "config": {"data": data}}), vae_data_root)
    kappa, limit = plan.space.dimensions["objective.kappa"], plan.facts.kappa_max[constraint]
    assert (kappa.low, kappa.high) == pytest.approx((low * limit, 0.8 * limit))


def test_a_squared_error_on_bits_is_measured_by_its_own_limit(vae_data_root):
    config = {"data": {"binarize": "fixed"}, "objective": {"constraint": "re"}}
    plan = make_plan(parse_spec({"space": "geco", "config": config}), vae_data_root)
    assert plan.space.dimensions["objective.kappa"].low == pytest.approx(0.45 * plan.facts.kappa_max["re"])
