"""The median rule decides as Tune's own where the definitions agree, and mends what Tune gets wrong."""

import math
import random
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from configs import ANY
from events import new_event
from ray.tune.schedulers import MedianStoppingRule, TrialScheduler

from tuner.running.decisions import Decisions
from tuner.search.median import LEAST_PEERS, MedianRule
from tuner.sweeps.journal import Journal

STOP = TrialScheduler.STOP
METRIC = "val/elbo"
EPOCHS = 12
CONTROLLER = SimpleNamespace(get_live_trials=list)


@dataclass(frozen=True)
class TuneTrial:
    trial_id: str


class Stock:
    """Tune's rule, told results as Tune tells them."""

    def __init__(self, n_trials, direction="max", grace=1):
        self.scheduler = MedianStoppingRule("epoch", METRIC, direction, grace, min_samples_required=LEAST_PEERS)
        self.trials = [TuneTrial(f"{number:04}") for number in range(n_trials)]
        for trial in self.trials:
            self.scheduler.on_trial_add(CONTROLLER, trial)

    def stops(self, number, epoch, value):
        result = {"epoch": epoch, METRIC: value}
        return self.scheduler.on_trial_result(CONTROLLER, self.trials[number], result) == STOP


class Ours:
    """The same results through the scheduler and the journal."""

    def __init__(self, path, n_trials, direction="max", grace=1):
        self.journal = Journal.create(path)
        self.journal.append(new_event("header", format=1, metric=METRIC, direction=direction, epochs=EPOCHS, rungs=[]))
        for number in range(n_trials):
            self.journal.append(
                new_event("ask", trial=f"{number:04}", number=number, assignment={}, config=ANY, method="elbo")
            )
        self.decisions = Decisions(self.journal, METRIC, EPOCHS, MedianRule(grace, direction))

    def stops(self, number, epoch, value):
        metrics = {METRIC: value} if math.isfinite(value) else {}
        report = {"trial": f"{number:04}", "epoch": epoch, "metrics": metrics, "diverged": False}
        return not self.decisions.hear({**report, "outcome": None, "checkpoint": None})

    def last(self, name):
        return getattr(self.journal.events[-1], name)


VALUES = {
    "coarse": lambda draw, epoch: float(draw.randrange(4)),
    "rising": lambda draw, epoch: epoch + draw.gauss(0, 1),
    "thirds": lambda draw, epoch: draw.randrange(5) / 3,
}


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize("kind", VALUES)
def test_every_decision_is_tunes_own_where_no_epoch_comes_before_the_grace(tmp_path, direction, kind):
    stops = decisions = 0
    for seed in range(12):
        draw = random.Random(f"{kind}{seed}")
        n_trials = draw.randint(2, 12)
        theirs, ours = Stock(n_trials, direction), Ours(tmp_path / f"{seed}.jsonl", n_trials, direction)
        running = dict.fromkeys(range(n_trials), 0)
        while running:
            number = draw.choice(list(running))
            running[number] += 1
            epoch, value = running[number], VALUES[kind](draw, running[number])
            expected = theirs.stops(number, epoch, value)
            found = ours.stops(number, epoch, value)
            if epoch == EPOCHS:
                assert ours.last("reason") == "completed"
            else:
                assert found == expected, (seed, number, epoch)
                decisions += 1
                stops += expected
            if found:
                del running[number]
    assert decisions > 200
    assert stops > 10


def told(rule, curves, epochs):
    """Curves epoch by epoch, all trials at each; trial → the epoch at which it was stopped."""
    stopped = {}
    for epoch in range(1, epochs + 1):
        for number, curve in enumerate(curves):
            if number not in stopped and rule.stops(number, epoch, curve[epoch - 1]):
                stopped[number] = epoch
    return stopped


def test_the_worked_example(tmp_path):
    """Averages over two epochs 1.5, 2.5 and 3.5: the median is 2.5, and a best of 2 is worse, of 2.5 is not."""
    ours = Ours(tmp_path / "journal.jsonl", 5)
    assert told(ours, [(1, 2), (2, 3), (3, 4)], 2) == {}
    assert not ours.stops(3, 1, 2.0), "its average is 2, the others' median too"
    assert ours.last("cutoff") == 2.0
    assert ours.stops(3, 2, 1.0)
    assert (ours.last("reason"), ours.last("cutoff"), ours.last("rung")) == ("pruned", 2.5, None)
    assert not ours.stops(4, 1, 2.5)
    assert not ours.stops(4, 2, -9.0), "the best of 2.5 is as good as the median of the four averages, 2.0"


@pytest.mark.parametrize("n_peers", [LEAST_PEERS - 1, LEAST_PEERS])
def test_nothing_stops_before_enough_others_have_come_as_far(tmp_path, n_peers):
    ours = Ours(tmp_path / "journal.jsonl", n_peers + 1)
    for number in range(n_peers):
        ours.stops(number, 1, 1.0)
    assert ours.stops(n_peers, 1, -1.0) == (n_peers == LEAST_PEERS)


def test_trap_a_nan_is_immortal_after_a_good_start(tmp_path):
    curves = [(1.0, 2.0, 3.0)] * 3 + [(9.0, math.nan, math.nan)]
    assert told(Stock(4), curves, 3) == {}
    ours = Ours(tmp_path / "journal.jsonl", 4)
    assert told(ours, curves, 3) == {3: 2}
    assert ours.journal.sweep.trials["0003"].stop_reason == "diverged"


def test_trap_the_best_value_of_a_warm_up_counts_for_ever(tmp_path):
    """A metric that looks good while β is small saves a trial that is hopeless once its warm-up has ended."""
    grace = 3
    curves = [(0.0, 0.0, 2.0, 3.0)] * 3 + [(9.0, 5.0, 0.0, 0.0)]
    assert told(Stock(4, grace=grace), curves, 4) == {}
    assert told(Ours(tmp_path / "journal.jsonl", 4, grace=grace), curves, 4) == {3: grace}


def test_trap_the_last_result_counts_twice_once_a_trial_has_ended():
    """Tune tells its scheduler of an end with the result that it has had."""
    theirs = Stock(1)
    for epoch, value in ((1, 0.0), (2, 3.0)):
        theirs.stops(0, epoch, value)
    assert theirs.scheduler._running_mean(theirs.trials[0], 2) == 1.5
    theirs.scheduler.on_trial_complete(CONTROLLER, theirs.trials[0], {"epoch": 2, METRIC: 3.0})
    assert theirs.scheduler._running_mean(theirs.trials[0], 2) == 2.0


def test_a_peer_that_diverged_counts_where_it_was_finite_only(tmp_path):
    ours = Ours(tmp_path / "journal.jsonl", 4)
    told(ours, [(1.0, 1.0), (1.0, 1.0), (1.0, math.nan)], 2)
    assert not ours.stops(3, 1, 1.0)
    assert ours.last("cutoff") == 1.0
    assert not ours.stops(3, 2, -9.0)
    assert ours.last("cutoff") is None


def test_expected_epochs():
    assert MedianRule(4, "max").expected_epochs(20, 12) == 10 * 4 + 10 * 12
    assert MedianRule(4, "max").expected_epochs(LEAST_PEERS, 12) == LEAST_PEERS * 12


def test_minimising_is_maximising_the_negative(tmp_path):
    draw = np.random.default_rng(0)
    curves = draw.normal(size=(8, EPOCHS - 1))
    low = told(Ours(tmp_path / "low.jsonl", 8, "min", grace=2), curves, EPOCHS - 1)
    high = told(Ours(tmp_path / "high.jsonl", 8, "max", grace=2), -curves, EPOCHS - 1)
    assert low == high != {}
