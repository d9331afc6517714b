"""What the pilots decide: levels, GECO's learning rate and λ̂."""

import json
from dataclasses import replace
from statistics import geometric_mean

import pytest


@pytest.fixture
def level(design, drawn):
    """level(changes by rate) → what becomes of the lowest κ whose two runs at each rate are changed so."""

    def decide(**changes):
        of = design("geco")
        pilot = [each for each in drawn(cost=3.0).train(of.pilot()) if each.run.kappa == of.pilot()[0].kappa]
        [found] = of.levels([replace(each, **changes.get(f"at_{each.run.rate:g}", {})) for each in pilot])
        return found, {(each.run.rate, each.run.seed): each for each in pilot}

    return decide


def test_the_rate_is_chosen_among_those_at_which_every_seed_settles(level):
    best, _ = level()
    second, _ = level(**{"at_0.001": {"outcome": "unsettled"}})
    assert best.rate == 1e-3
    assert second.rate in (5e-4, 2e-3)
    assert best.kept
    assert second.kept


def test_a_rate_that_does_not_settle_has_no_say_in_the_choice(level):
    """Not by its λ either, which at the ceiling would let the distortion alone decide."""
    alone, runs = level(**{"at_0.0005": {"outcome": "infeasible"}})
    at_ceiling, _ = level(**{"at_0.0005": {"outcome": "infeasible", "weight": 1e9}})
    assert at_ceiling == alone
    assert alone.weight == pytest.approx(geometric_mean([runs[alone.rate, seed].weight for seed in (0, 1)]))


def of_violation(outcome, violation, stderr=0.01):
    return {"outcome": outcome, "val": {"geco/violation": violation, "geco/violation_se": stderr}}


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (of_violation("unsettled", 0.024), of_violation("ok", -0.005), True),  # one unlucky pilot
        (of_violation("unsettled", -0.024), of_violation("unsettled", 0.022), True),
        (of_violation("unmet", 0.024), of_violation("ok", 0.01), True),
        (of_violation("unsettled", -0.06), of_violation("ok", -0.01), False),
        (of_violation("unsettled", -0.03), of_violation("unsettled", -0.03), False),
        (of_violation("infeasible", 0.021), of_violation("ok", 0.0), False),  # λ at a bound is no weight
        (of_violation("worse-than-mean", 0.021), of_violation("ok", 0.0), False),
        (of_violation("ok", 0.024, stderr=0.0121), of_violation("ok", 0.024, stderr=0.0121), True),  # each settled
        ({"outcome": "unsettled"}, of_violation("ok", 0.0), False),  # a record that has no violation
        ({"outcome": "unsettled", "val": {"geco/violation": 0.0}}, of_violation("ok", 0.0), False),  # nor its error
        ({"outcome": "unsettled"}, {"outcome": "ok"}, False),
    ],
    ids=str,
)
def test_a_rate_is_judged_by_the_mean_violation_of_its_pilots(first, second, kept, design, drawn):
    of = design("geco")
    ends = [each for each in drawn().train(of.pilot()) if each.run.kappa == of.kappas[0]]
    changed = [
        replace(each, **{**change, "val": each.val | change.get("val", {})})
        for each in ends
        for change in ((first, second)[each.run.seed],)
    ]
    [found] = of.levels(changed)
    assert (found.kept, found.outcome == "ok") == (kept, kept)


def test_a_level_on_which_no_rate_settles_is_dropped_with_the_outcome_of_the_best(level):
    unmet = {f"at_{rate}": {"outcome": "unmet"} for rate in ("0.0005", "0.002")}
    found, _ = level(**unmet, **{"at_0.001": {"outcome": "unsettled"}})
    assert (found.rate, found.outcome) == (1e-3, "unsettled")


def test_a_level_of_which_a_run_diverged_at_every_rate_is_dropped(design, drawn):
    of = design("geco")
    lost = {"stop_reason": "diverged", "outcome": None, "weight": None, "val": {}}
    ends = drawn().train(of.pilot())
    first = [replace(each, **lost) if each.run.rate == 5e-4 or each.run.seed == 0 else each for each in ends]
    assert {found.outcome for found in of.levels(first)} == {"diverged"}
    assert {found.outcome for found in of.levels([replace(each, **lost) for each in ends])} == {"diverged"}


def test_runs_come_back_from_json_as_they_were(design):
    """By this a stage is told from another comparison's."""
    runs = [run.full for run in [*design("geco", "linear", "gqn", pool=8).pools(), *design("geco").pilot()]]
    assert json.loads(json.dumps(runs)) == runs
