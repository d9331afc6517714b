"""What a sweep knows is not trained again: it is drawn again, and a space at its end ends the sweep."""

import json
from typing import get_args

import pytest
from events import asked

from trainables.config.paths import parse_config
from trainables.errors import UserError
from trainables.resolve import identity
from tuner.search.duplicates import is_exhausted
from tuner.sweeps.spec import Search
from tuner.sweeps.state import fold

SAMPLERS = get_args(Search.model_fields["sampler"].annotation)
SIX = {"batch_size": {"choice": [16, 32, 64]}, "beta.end": {"choice": [1, 2]}}
RATES = {"lr.base": {"choice": [1e-3, 3e-3, 1e-2]}}
FIVE = {
    "objective.kind": {"choice": ["elbo", "geco"]},
    "objective.kappa": {"choice": [0.1, 0.12, 0.14], "when": {"objective.kind": "geco"}},
    "beta.end": {"choice": [1, 2], "when": {"objective.kind": "elbo"}},
}
HALF_OPEN = {
    "objective.kind": {"choice": ["elbo", "geco"]},
    "objective.kappa": {"float": [0.1, 0.2], "when": {"objective.kind": "geco"}},
}
SHORT = {"config.epochs": 1, "scheduler.kind": "none", "search.trials": 20}


def keys(assignments):
    return [json.dumps(assignment, sort_keys=True) for assignment in assignments]


def same_length_twice(sweeps, **paths):
    """A warm-up written in both ways: the same schedule."""
    config = sweeps.plan("x", **SHORT | paths).default
    total = config.epochs * (config.data.n_train // config.batch_size)
    return {"beta.kind": "linear", "beta.warmup": {"choice": [0.5, f"{round(0.5 * total)} steps"]}}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("space", "n"), [(SIX, 6), (FIVE, 5), ({"batch_size": {"int": [30, 33]}}, 4)], ids=str)
def test_a_space_with_an_end_is_trained_once_and_then_the_sweep_ends(sweeps, sampler, space, n):
    result = sweeps.run("s", space=space, **{**SHORT, "search.sampler": sampler})
    assert len(set(keys(asked(sweeps.events("s"))))) == len(asked(sweeps.events("s"))) == n
    assert (result.finished, result.exit_code, result.planned) == ("completed", 0, n)
    assert result.exhausted == f"all {n} combinations of the space have been tried"


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_learning_sampler_that_likes_one_branch_trains_its_only_configuration_once(sweeps, concurrency):
    paths = {**SHORT, "search.sampler": "tpe", "resources.concurrency": concurrency}
    result = sweeps.run("s", space=HALF_OPEN, **paths)
    drawn = asked(sweeps.events("s"))
    assert len(set(keys(drawn))) == len(drawn) == 20
    assert [assignment["objective.kind"] for assignment in drawn].count("elbo") == 1
    assert result.exhausted is None


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_two_assignments_of_one_configuration_are_one(sweeps, sampler):
    result = sweeps.run("s", space=same_length_twice(sweeps), **{**SHORT, "search.sampler": sampler})
    sweep = fold(sweeps.events("s"))
    assert len(sweep.trials) == 1
    assert sweep.exhausted
    assert (result.finished, result.exit_code) == ("completed", 0)


@pytest.mark.parametrize("sampler", ["random", "tpe", "qmc", "nsga2", "grid"])
def test_a_sweep_that_draws_again_ends_as_the_undisturbed_one_wherever_it_is_cut(sweeps, sampler):
    paths = {**SHORT, "search.sampler": sampler}
    sweeps.run("s", space=same_length_twice(sweeps) | RATES, **paths)
    assert len(asked(sweeps.events("s"))) == 3
    sweeps.check_cut_anywhere("s")


@pytest.mark.parametrize("concurrency", [1, 2, 4])
@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
def test_paused_trials_do_not_wait_for_what_never_comes(sweeps, kind, concurrency):
    """HyperBand's first bracket has nine places here, and three configurations to fill them."""
    paths = {"scheduler.kind": kind, "scheduler.grace": 1, "config.epochs": 9, "search.trials": 20}
    space = same_length_twice(sweeps, **{"config.epochs": 9}) | RATES
    result = sweeps.run("s", space=space, **{**paths, "resources.concurrency": concurrency})
    assert (result.n_trials, result.finished, result.exit_code) == (3, "completed", 0)


def test_what_an_earlier_sweep_has_trained_is_not_trained_again(sweeps):
    sweeps.run("old", space=SIX, **{**SHORT, "search.trials": 4})
    plan = sweeps.plan("new", space=SIX, **{**SHORT, "search.warm_start": ["old"]})
    assert plan.spec.search.trials == 2
    assert "6 combinations, 4 of them known from earlier sweeps: at most 2 trials" in plan.notes
    sweeps.run("new", space=SIX, **{**SHORT, "search.warm_start": ["old"]})
    assert len(set(keys(asked(sweeps.events("old")) + asked(sweeps.events("new"))))) == 6
    result = sweeps.run("none", space=SIX, **{**SHORT, "search.warm_start": ["old", "new"]})
    assert (result.n_trials, result.finished, result.exit_code) == (0, "completed", 0)
    assert result.exhausted


def test_more_trials_of_a_space_at_its_end_are_refused_in_a_sentence(sweeps):
    sweeps.run("s", space=SIX, **SHORT)
    with pytest.raises(UserError, match=r"s has nothing left to try: all 6 combinations of the space have been tried"):
        sweeps.resume("s", more_trials=3)
    sweeps.run("twice", space=same_length_twice(sweeps), **SHORT)
    for more in (0, 3):
        with pytest.raises(UserError, match="every configuration that was drawn has been tried"):
            sweeps.resume("twice", more_trials=more)


def test_more_trials_are_what_is_left(sweeps):
    sweeps.run("s", space=SIX, **{**SHORT, "search.trials": 4})
    assert not is_exhausted(fold(sweeps.events("s")), sweeps.plan("s", space=SIX, **SHORT).space)
    result = sweeps.resume("s", more_trials=10)
    assert (result.n_trials, result.planned, result.exit_code) == (6, 6, 0)
    assert len(set(keys(asked(sweeps.events("s"))))) == 6


def test_points_that_are_given_may_repeat(sweeps):
    point = {"lr.base": 1e-3}
    result = sweeps.run("s", **{**SHORT, "search.points": [point, point]})
    assert asked(sweeps.events("s")) == [point, point]
    assert result.exhausted is None


def test_the_plan_says_how_many_combinations_there_are(sweeps):
    def notes(space, trials, sampler="tpe"):
        plan = sweeps.plan("s", space=space, **{**SHORT, "search.trials": trials, "search.sampler": sampler})
        return plan.spec.search.trials, [note for note in plan.notes if "combination" in note]

    assert notes("batch-size", 20) == (12, ["12 combinations: at most 12 trials"])
    assert notes(SIX, 4) == (4, ["6 combinations"])
    assert notes("lr", 20) == (20, [])
    assert notes(SIX, 20, "grid") == (6, []), "a grid tells of its points"


def test_with_several_seeds_configurations_are_counted(sweeps):
    seeds = {**SHORT, "search.repeats": 2}
    assert (
        "6 combinations: at most 6 configurations" in sweeps.plan("s", space=SIX, **{**seeds, "search.trials": 9}).notes
    )
    grid = sweeps.plan("s", space=SIX, **{**seeds, "search.trials": 9, "search.sampler": "grid"})
    assert "grid: 6 configurations × 2 seeds = 12 points, for 9 configurations at most" in grid.notes
    sweeps.run("old", space=SIX, **{**seeds, "search.trials": 2})
    new = sweeps.plan("new", space=SIX, **{**SHORT, "search.warm_start": ["old"]})
    assert "warm start: 2 of 2 configurations of old used" in new.notes


def test_an_old_sweep_that_trained_combinations_twice_goes_on(sweeps):
    """Its journal has more trials than there are combinations, and brackets made for them."""
    sweeps.run("s", **{**SHORT, "search.trials": 12, "scheduler.kind": "hyperband", "config.epochs": 9})
    plan = sweeps.plan("s", space=SIX, **{**SHORT, "config.epochs": 9, "scheduler.kind": "hyperband"})
    repeated = plan.space.default({})
    sweeps.rewrite("s", lambda event: as_repeated(event, plan, repeated))
    sweeps.cut("s", -3)
    assert sweeps.resume("s").finished == "completed"


def as_repeated(event, plan, assignment):
    """An event of a sweep over `plan.space` all of whose trials have one assignment."""
    if event["event"] == "header":
        space = {"space": plan.space.to_mapping(), "rungs": list(plan.rungs)}
        return {**event, **space, "spec": {**event["spec"], "space": SIX}}
    if event["event"] == "ask":
        config, method = plan.trial(assignment)
        return {**event, "assignment": assignment, "config": config, "method": method}
    return event


def test_an_identity_needs_a_resolved_configuration():
    with pytest.raises(ValueError, match="not resolved"):
        identity(parse_config({}))
