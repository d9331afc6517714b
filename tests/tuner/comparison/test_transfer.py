import json
from dataclasses import replace

import pytest

from tuner.comparison.transfer import Side, answer_transfer, best_trials, candidates, runs_of

METHODS = ("geco", "linear")
METRIC = "val/elbo_cal"


@pytest.fixture
def sides(design, drawn):
    """Two data sets, κ_max of the second twice that of the first, with finished pools."""
    found = []
    for seed, dataset, kappa_max in ((0, "a", 0.25), (1, "b", 0.5)):
        of = design(*METHODS, seed=seed, pool=12, seeds=4)
        of = replace(of, seed=0, scale=replace(of.scale, kappa_max=kappa_max))
        found.append(Side(dataset, of, METRIC, best_trials(drawn(seed).train(of.pools()), METRIC)))
    return found


def test_the_best_is_by_validation_among_those_that_did_not_diverge(design, drawn):
    pool = drawn().train(design("geco", pool=12).pools())
    first = best_trials(pool, METRIC)["geco"]
    assert first.val[METRIC] == max(each.val[METRIC] for each in pool)
    without = [replace(each, stop_reason="diverged") if each is first else each for each in pool]
    second = best_trials(without, METRIC)["geco"]
    assert second.val[METRIC] == sorted(each.val[METRIC] for each in pool)[-2]
    assert best_trials([replace(each, stop_reason="diverged") for each in pool], METRIC) == {}


def test_dials_and_learning_rate_go_over_as_they_are_and_kappa_also_as_a_share(sides):
    a, b = sides
    found = candidates(a, b)
    assert [(each.run.method, each.how) for each in found] == [
        ("geco", "own"), ("geco", "absolute"), ("geco", "relative"), ("linear", "own"), ("linear", "unchanged"),
    ]  # fmt: skip
    own, absolute, relative, own_linear, unchanged = found
    assert own.run == b.best["geco"].run
    assert own_linear.run == b.best["linear"].run
    assert absolute.dials == {
        "objective.kappa": a.best["geco"].run.full["objective.kappa"],
        "lr.base": relative.run.rate,
    }
    assert relative.dials["objective.kappa"] == pytest.approx(2 * absolute.dials["objective.kappa"])
    assert unchanged.run == a.best["linear"].run


def test_every_candidate_gets_the_seeds_by_which_nothing_was_chosen(sides):
    a, b = sides
    found = candidates(a, b)
    runs = runs_of("transfer", found, b.design.fresh)
    assert len(runs) == 5 * 4
    assert {run.seed for run in runs}.isdisjoint({run.seed for run in [*b.design.pilot(), *b.design.pools()]})
    assert [run.seed for run in runs[:4]] == list(b.design.fresh)
    assert all(run.assignment == found[i // 4].run.assignment for i, run in enumerate(runs))


@pytest.fixture
def answered(sides, drawn):
    """answered(change of the i-th end) → the answer where what is carried over is worth a nat less."""

    def answer(change=lambda i, end: end):
        a, b = sides
        found = candidates(a, b)
        ends = drawn().train(runs_of("transfer", found, b.design.fresh))
        worse = []
        for i, end in enumerate(ends):
            how = found[i // 4].how
            value = 5.0 + 0.1 * end.run.seed - (0 if how == "own" else 1 + 0.01 * end.run.seed)
            worse.append(change(i, replace(end, test={**end.test, "test/elbo_cal": value})))
        return answer_transfer(a, b, found, worse)

    return answer


def test_the_loss_is_paired_by_seed_and_positive_where_the_own_best_is_better(answered):
    found = answered()
    assert [(each.method, each.how) for each in found] == [
        ("geco", "absolute"), ("geco", "relative"), ("linear", "unchanged"),
    ]  # fmt: skip
    for each in found:
        assert (each.origin, each.target) == ("a", "b")
        assert each.loss.mean == pytest.approx(1 + 0.01 * 3.5)
        assert each.loss.hi - each.loss.lo < 0.1  # the seeds' own spread, .1 a seed, is in neither
        assert each.ends == {"ok": 1.0}
    assert json.loads(json.dumps([each.document() for each in found]))[0]["loss"]["mean"] == found[0].loss.mean


def test_a_seed_that_diverged_is_in_no_pair(answered):
    def lose(i, end):
        return replace(end, stop_reason="diverged", test={}) if i in (0, 5, 13, 14, 15) else end

    absolute, relative, unchanged = answered(lose)
    assert absolute.loss.mean == pytest.approx(1 + 0.01 * 4.5)  # seeds 4 and 5
    assert relative.loss.mean == pytest.approx(1 + 0.01 * 4)
    assert absolute.ends == {"ok": 0.75, "diverged": 0.25}
    assert unchanged.loss is None
