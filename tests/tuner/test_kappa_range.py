"""What a plan makes of GECO's κ before its reach is measured, and once it is."""

import pytest

from search_spaces.geco import KAPPA, UNMEASURED
from tuner.planning.plans import make_plan
from tuner.sweeps.spec import parse_spec


@pytest.fixture
def planned(vae_data_root):
    def make(space="geco", config=None, **search):
        return make_plan(parse_spec({"space": space, "config": config or {}, "search": search}), vae_data_root)

    return make


def range_of(plan):
    kappa = plan.space.dimensions["objective.kappa"]
    return pytest.approx((kappa.low, kappa.high))


@pytest.mark.parametrize(
    ("data", "constraint"), [({}, "re"), ({"binarize": "fixed"}, "nll"), ({"binarize": "dynamic"}, "nll")]
)
@pytest.mark.parametrize("space", ["geco", "geco-vs-annealing"])
def test_kappa_is_searched_where_its_constraint_can_be_met(space, data, constraint, planned):
    plan = planned(space, {"data": data})
    limit = plan.facts.kappa_max[constraint]
    assert plan.awaits_reach
    assert (UNMEASURED[constraint].low * limit, 0.8 * limit) == range_of(plan)
    assert plan.known_space.to_mapping()["objective.kappa"]["relative_to"] == ["kappa_min", "kappa_max"]
    reached = plan.with_reach({"re": 0.3 * plan.facts.kappa_max["re"], constraint: 0.3 * limit})
    assert (KAPPA[constraint].low * 0.3 * limit, 0.8 * limit) == range_of(reached)
    assert reached.known_space == reached.space
    assert not reached.awaits_reach
    unreached = plan.with_reach({})
    assert (UNMEASURED[constraint].low * limit, 0.8 * limit) == range_of(unreached)
    assert not unreached.awaits_reach


def test_a_squared_error_on_bits_is_measured_by_its_own_limit(planned):
    plan = planned("geco", {"data": {"binarize": "fixed"}, "objective": {"constraint": "re"}})
    reached = plan.with_reach({"re": 0.2, "nll": 0.001})
    assert reached.space.dimensions["objective.kappa"].low == pytest.approx(KAPPA["re"].low * 0.2)


NUMBERS = {"float": [0.1, 0.2]}
GECO = {"objective": {"kind": "geco"}}
POINTS = {"auto": {"objective.kind": "geco"}, "number": {"objective.kind": "geco", "objective.kappa": 0.2}}


@pytest.mark.parametrize(
    ("asks", "space", "config", "points"),
    [
        (True, "geco-vs-annealing+lr", {}, ()),
        (True, {"objective.kind": {"choice": ["elbo", "geco"]}}, {}, ()),
        (True, {"objective.kind": "geco", "lr.base": {"float": [1e-3, 1e-2]}}, {}, ()),
        (True, "lr", GECO, ()),
        (True, {"use": ["geco"], "objective.kappa": {"choice": ["auto", 0.2]}}, {}, ()),
        (True, {"use": ["geco"], "objective.kappa": {"float": [1, 2], "relative_to": "kappa_min"}}, {}, ()),
        (True, "lr", {}, (POINTS["number"], POINTS["auto"])),
        (False, "linear", {}, ()),
        (False, "annealing+clr", {}, ()),
        (False, {"use": ["geco"], "objective.kappa": NUMBERS}, {}, ()),
        (False, {"use": ["geco"], "objective.kappa": {"float": [0.4, 0.8], "relative_to": "kappa_max"}}, {}, ()),
        (False, "geco+lr", {"objective": {"kappa": 0.2}}, ()),
        (False, "geco-vs-annealing", {"objective": {"kappa": 0.2}}, ()),
        (False, "lr", {"objective": {"kind": "geco", "kappa": 0.2}}, ()),
        (False, "lr", {}, (POINTS["number"], {"lr.base": 1e-3})),
    ],
)
def test_the_reach_is_asked_for_only_where_some_kappa_depends_on_it(asks, space, config, points, planned):
    plan = planned(space, config, points=points)
    assert plan.awaits_reach == asks
    assert any("is measured at the start" in note for note in plan.notes) == asks


@pytest.mark.parametrize("share", [0.3, 0.7, 2.0])
def test_auto_in_a_fixed_part_or_a_point_is_a_number_that_follows_the_reach(share, planned):
    for plan in (planned("lr", GECO), planned("lr", {}, points=(POINTS["auto"],))):
        limit = plan.facts.kappa_max["re"]
        reached = plan.with_reach({"re": share * limit})
        expected = min(max(0.6, 1.05 * share), 0.95) * limit
        assert reached.default.objective.kappa == pytest.approx(expected)
        assert reached.resolved(reached.first).objective.kappa == pytest.approx(expected)


def test_models_that_learn_nothing_are_told_in_plain_words(planned):
    plan = planned("geco")
    limit = plan.facts.kappa_max["re"]
    (note,) = [note for note in plan.with_reach({"re": 0.97 * limit}).notes if "hardly any room" in note]
    assert note == (
        "κ_min is 0.97 of κ_max: the models learn little in this budget, and GECO has hardly any room; κ is searched "
        f"from {0.75 * limit:.6g} to {0.95 * limit:.6g} (log); train longer, or try larger models or higher learning "
        "rates"
    )


def test_the_largest_model_that_a_trial_can_have_is_the_one_that_is_measured(planned):
    space = {"use": ["geco"], "model.latent_dim": {"int": [2, 24]}, "batch_size": {"choice": [16, 64]}}
    found = planned(space).biggest
    assert (found.model.latent_dim, found.batch_size) == (24, planned(space).default.batch_size)
    points = tuple({**POINTS["auto"], "model.latent_dim": dims} for dims in (4, 20, 6))
    assert planned("lr", points=points).biggest.model.latent_dim == 20


def test_what_earlier_sweeps_know_counts_in_the_range_that_was_measured(sweeps):
    lr = {"objective.kappa": {"float": [0.1, 0.2]}}
    sweeps.run("old", space={"use": ["geco"], **lr}, **{"search.trials": 6, "scheduler.kind": "none"})
    plan = sweeps.plan("new", space="geco", **{"search.warm_start": ["old"]})
    kappas = sorted(event["assignment"]["objective.kappa"] for event in sweeps.events("old") if event["event"] == "ask")
    middle = kappas[3]
    reached = plan.with_reach({"re": middle / KAPPA["re"].low})
    assert sorted(prior.assignment["objective.kappa"] for prior in reached.priors) == kappas[3:]
