"""The rung rule decides as Tune's own on finite metrics reported each epoch, and mends what Tune gets wrong."""

import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from tuner.search.asha import Asha, rungs_for
from tuner.search.rules import Verdict
from tuner.sweeps.state import Sweep


def stock(direction="max", **options):
    return ASHAScheduler(time_attr="epoch", metric="value", mode=direction, brackets=1, **options)


def tune_trial(scheduler, name):
    trial = SimpleNamespace(trial_id=name)
    scheduler.on_trial_add(None, trial)
    return trial


class Filed:
    """Ours as a caller uses it: each value is filed at the rung that the verdict names."""

    def __init__(self, rule):
        self.rule, self.rungs = rule, {}
        self.sweep = Sweep(rungs=self.rungs)

    def stops(self, trial, epoch, value):
        verdict = self.rule.decide(self.sweep, trial, epoch, value)
        if verdict.rung is not None:
            self.rungs.setdefault(verdict.rung, {})[trial] = value
        return verdict.decision == "stop"


# Few distinct values, so that many tie with each other and with the cutoff.
VALUES = {
    "coarse": lambda draw: float(draw.randrange(4)),
    "thirds": lambda draw: draw.randrange(5) / 3,
    "fine": lambda draw: draw.gauss(0, 1),
    "large": lambda draw: -1000 + draw.random(),
}


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize("kind", VALUES)
def test_every_decision_is_tunes_own(direction, kind):
    stops = decisions = 0
    for seed in range(60):
        draw = random.Random(f"{kind}{seed}")
        epochs, factor = draw.randint(2, 40), draw.choice([2, 3, 4, 5])
        grace = draw.randint(1, epochs)
        theirs = stock(direction, grace_period=grace, max_t=epochs, reduction_factor=factor)
        ours = Filed(Asha(rungs_for(epochs, grace, factor), factor, direction))
        running = {f"{i}": 0 for i in range(draw.randint(2, 15))}
        trials = {name: tune_trial(theirs, name) for name in running}
        while running:
            name = draw.choice(list(running))
            running[name] += 1
            epoch, value = running[name], VALUES[kind](draw)
            if epoch == epochs:
                del running[name]
                continue
            result = {"epoch": epoch, "value": value}
            expected = theirs.on_trial_result(None, trials[name], result) == TrialScheduler.STOP
            assert ours.stops(name, epoch, value) == expected, (seed, name, epoch, value)
            decisions += 1
            if expected:
                stops += 1
                theirs.on_trial_complete(None, trials[name], result)
                del running[name]
    assert decisions > 2000
    assert stops > 100


def test_the_worked_example_of_tunes_bracket():
    rule = Asha((1,), 2, "max")
    assert rule.decide(Sweep(), "1", 1, 2.0) == Verdict("continue", 1, None)
    assert rule.decide(Sweep(rungs={1: {"1": 2.0}}), "2", 1, 4.0) == Verdict("continue", 1, 2.0)
    assert rule.decide(Sweep(rungs={1: {"1": 2.0, "2": 4.0}}), "3", 1, 1.0) == Verdict("stop", 1, 3.0)


filed_values = st.dictionaries(st.integers(0, 9).map(str), st.floats(-1e6, 1e6), max_size=8)


@given(filed=filed_values, value=st.floats(-1e6, 1e6), factor=st.integers(2, 5))
def test_minimising_is_maximising_the_negative(filed, value, factor):
    negated = {trial: -other for trial, other in filed.items()}
    low = Asha((1,), factor, "min").decide(Sweep(rungs={1: filed}), "x", 1, value)
    high = Asha((1,), factor, "max").decide(Sweep(rungs={1: negated}), "x", 1, -value)
    assert low.decision == high.decision
    assert low.cutoff == (None if high.cutoff is None else -high.cutoff)


@given(filed=filed_values.filter(bool), factor=st.integers(2, 5))
def test_the_best_so_far_always_goes_on_and_a_worse_than_all_never_does(filed, factor):
    rule, best, worst = Asha((1,), factor, "max"), max(filed.values()), min(filed.values())
    sweep = Sweep(rungs={1: filed})
    assert rule.decide(sweep, "x", 1, best).decision == "continue"
    assert rule.decide(sweep, "x", 1, worst - 1).decision == "stop"


def test_without_rungs_nothing_stops_or_is_filed():
    assert Asha((), 3, "max").decide(Sweep(), "0", 5, -1e9) == Verdict("continue")


def test_trap_08_sparse_reports_fall_into_low_rungs():
    epochs, rungs = (10, 20, 30), (1, 3, 9, 27)
    # Stock: the 20-epoch value is filed at 3, and the next trial's 3 epochs are held against it.
    theirs = stock(grace_period=1, max_t=81, reduction_factor=3)
    sparse, dense = tune_trial(theirs, "sparse"), tune_trial(theirs, "dense")
    for epoch in epochs:
        theirs.on_trial_result(None, sparse, {"epoch": epoch, "value": float(epoch)})
    results = [theirs.on_trial_result(None, dense, {"epoch": epoch, "value": 3.0}) for epoch in (1, 2, 3)]
    assert results[-1] == TrialScheduler.STOP

    ours = Filed(Asha(rungs, 3, "max"))
    assert not any(ours.stops("sparse", epoch, float(epoch)) for epoch in epochs)
    assert ours.rungs == {9: {"sparse": 10.0}, 27: {"sparse": 30.0}}
    assert not any(ours.stops("dense", epoch, 3.0) for epoch in (1, 2, 3))


@given(
    epochs=st.lists(st.integers(1, 100), unique=True, min_size=1).map(sorted),
    rungs=st.lists(st.integers(1, 100), unique=True, min_size=1).map(sorted),
)
def test_a_value_is_filed_at_the_highest_rung_reached_once_and_in_rising_order(epochs, rungs):
    rule = Filed(Asha(tuple(rungs), 3, "max"))
    for epoch in epochs:
        before = {rung: dict(filed) for rung, filed in rule.rungs.items()}
        rule.stops("0", epoch, float(epoch))
        new = [rung for rung in rule.rungs if rung not in before]
        reached = [rung for rung in rungs if rung <= epoch]
        assert new == ([max(reached)] if reached and max(reached) not in before else [])
        assert all(rule.rungs[rung] == filed for rung, filed in before.items())
    assert list(rule.rungs) == sorted(rule.rungs)
