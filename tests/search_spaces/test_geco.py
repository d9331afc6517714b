from dataclasses import replace

import pytest

from search_spaces.catalogue import parse_space
from search_spaces.domains import Float
from search_spaces.geco import HARDLY_ANY_ROOM, KAPPA, UNMEASURED, constrained, has_room, in_numbers

USERS = {"use": ["geco-vs-annealing"], "objective.kappa": {"float": [0.12, 0.2]}}
KAPPA_MAX = {"re": 0.27, "nll": 0.42}


def kappa_in(space, constraint, kappa_min):
    found = in_numbers(constrained(parse_space(space), constraint), constraint, KAPPA_MAX[constraint], kappa_min)
    return found.dimensions["objective.kappa"]


@pytest.mark.parametrize("name", ["geco", "geco-vs-annealing", "geco-vs-annealing+clr"])
@pytest.mark.parametrize("constraint", KAPPA)
def test_the_range_of_kappa_is_that_of_its_constraint_and_the_rest_stays(name, constraint):
    space = parse_space(name)
    found = constrained(space, constraint)
    kappa = found.dimensions["objective.kappa"]
    assert replace(kappa, when={}) == KAPPA[constraint]
    assert replace(found, dimensions={**found.dimensions, "objective.kappa": space.dimensions["objective.kappa"]}) == (
        space
    )


@pytest.mark.parametrize("name", ["geco", "geco-vs-annealing", "geco-vs-annealing+clr"])
@pytest.mark.parametrize("constraint", KAPPA)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_kappa_begins_at_what_a_model_reaches(name, constraint, share):
    limit = KAPPA_MAX[constraint]
    kappa = kappa_in(name, constraint, share * limit)
    assert (kappa.low, kappa.high) == pytest.approx((KAPPA[constraint].low * share * limit, 0.8 * limit))
    assert kappa.references is None


@pytest.mark.parametrize("constraint", KAPPA)
def test_where_the_reach_is_not_known_kappa_begins_at_a_share_of_the_mean_images_error(constraint):
    """Pixel noise takes most of κ_max: .45 to .55 of it was met by no model on bits."""
    kappa, limit = kappa_in("geco", constraint, None), KAPPA_MAX[constraint]
    assert (kappa.low, kappa.high) == pytest.approx((UNMEASURED[constraint].low * limit, 0.8 * limit))
    assert UNMEASURED["re"].low < 0.55 < UNMEASURED["nll"].low


@pytest.mark.parametrize("constraint", KAPPA)
@pytest.mark.parametrize("share", [0.05 * i for i in range(1, 24)])
def test_there_is_a_range_of_kappa_below_the_mean_image_whatever_a_model_reaches(constraint, share):
    limit = KAPPA_MAX[constraint]
    kappa = kappa_in("geco", constraint, share * limit)
    assert kappa.low < kappa.high < limit
    assert kappa.high / kappa.low >= 1.05
    hopeless = replace(kappa, low=kappa.low / limit, high=kappa.high / limit, relative_to="kappa_max")
    assert has_room(constraint, limit, share * limit) == (hopeless != HARDLY_ANY_ROOM)


@pytest.mark.parametrize("space", [USERS, "linear", {"use": ["geco"], "objective.kappa": 0.1, "lr.base": 1e-3}])
def test_a_range_of_the_users_own_or_none_stays(space):
    assert in_numbers(constrained(parse_space(space), "nll"), "nll", 0.4, 0.2) == parse_space(space)


def test_a_relative_range_of_the_users_own_is_its_own_multiples():
    own = {"float": [1.2, 2], "relative_to": "kappa_min"}
    assert kappa_in({"use": ["geco"], "objective.kappa": own}, "re", 0.1) == Float(1.2 * 0.1, 2 * 0.1)
