from dataclasses import replace

import pytest

from search_spaces.catalogue import parse_space
from search_spaces.domains import Float
from search_spaces.geco import KAPPA, within_reach

USERS = {"use": ["geco-vs-annealing"], "objective.kappa": {"float": [0.12, 0.2]}}


@pytest.mark.parametrize("name", ["geco", "geco-vs-annealing", "geco-vs-annealing+clr"])
@pytest.mark.parametrize("constraint", KAPPA)
def test_the_range_of_kappa_is_that_of_its_constraint_and_the_rest_stays(name, constraint):
    space = parse_space(name)
    found = within_reach(space, constraint)
    kappa = found.dimensions["objective.kappa"]
    assert replace(kappa, when={}) == KAPPA[constraint]
    assert replace(found, dimensions={**found.dimensions, "objective.kappa": space.dimensions["objective.kappa"]}) == (
        space
    )


@pytest.mark.parametrize("space", [USERS, "linear", {"use": ["geco"], "objective.kappa": 0.1, "lr.base": 1e-3}])
def test_a_range_of_the_users_own_or_none_stays(space):
    assert within_reach(parse_space(space), "nll") == parse_space(space)


def test_bits_leave_less_room_below_the_nats_of_the_mean_image():
    """Pixel noise takes most of κ_max: .45 to .55 of it was met by no model on bits."""
    assert KAPPA["nll"] == Float(0.58, 0.8, log=True, relative_to="kappa_max")
    assert KAPPA["re"].low < 0.55 < KAPPA["nll"].low
