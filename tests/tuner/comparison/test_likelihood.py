import json
from dataclasses import replace

import pytest

from tuner.comparison.likelihood import answer_nll, measured_level
from tuner.comparison.statistics import mean_interval


def test_it_is_of_the_middle_one_of_the_levels_that_are_kept(design, drawn, follow):
    levels, _, _ = follow(design("geco", "beta"), drawn(outcomes={0.45: "infeasible", 0.7: "unsettled"}))
    assert measured_level(levels) == levels[2]
    assert measured_level([replace(level, outcome="unmet") for level in levels]) is None


def test_it_has_an_interval_over_the_seeds_of_each_method_and_says_how_it_was_taken(comparison):
    found = comparison("geco", "beta", "linear", "free-bits")
    (level,) = {each.run.kappa for each in found.trained["path"] if "test/nll" in each.test}
    assert level == found.levels[2].kappa
    for method in ("geco", "beta", "linear"):
        own = [each for each in found.trained["path"] if (each.run.method, each.run.kappa) == (method, level)]
        assert found.nll.values[method] == mean_interval([each.test["test/nll"] for each in own])
    assert found.nll.values.keys() == {"geco", "beta", "linear"}
    document = json.loads(json.dumps(found.nll.document()))
    assert (document["samples"], document["examples"], document["sigma"]) == (1000, 900, 0.3)


@pytest.mark.parametrize("missing", ["level", "runs"])
def test_there_is_none_where_nothing_was_measured(missing, comparison):
    found = comparison("geco", "beta")
    levels = [] if missing == "level" else found.levels
    path = found.trained["path"] if missing == "level" else []
    assert answer_nll(levels, path) is None
