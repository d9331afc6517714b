"""What waits for a node that is gone is noticed in time, and nothing else is."""

import pickle
from types import SimpleNamespace

import pytest
from ray import tune

from tuner.running.exclusive_trials import LOOK_SECONDS, WAIT_SECONDS, AloneWatch, NodeGoneError


class Clock:
    def __init__(self):
        self.now, self.most = 0.0, 8.0

    def watch(self):
        return AloneWatch(1.0, lambda: self.most, lambda: self.now)

    def pass_by(self, watch, trials, seconds):
        for _ in range(int(seconds / LOOK_SECONDS)):
            self.now += LOOK_SECONDS
            watch.on_step_begin(0, trials)


def trial(name, cpus, status="PENDING", alone=True):
    factory = tune.PlacementGroupFactory([{"CPU": cpus}])
    config = {"lane": 0, "alone": name if alone else None}
    return SimpleNamespace(config=config, status=status, placement_group_factory=factory)


@pytest.fixture
def clock():
    return Clock()


def test_a_trial_waits_for_such_a_node_to_come_again_and_then_no_longer(clock):
    watch, trials = clock.watch(), [trial("0001", 8.0), trial("0000", 1.0, "RUNNING", alone=False)]
    clock.pass_by(watch, trials, 10 * WAIT_SECONDS)
    clock.most = 4.0
    clock.pass_by(watch, trials, WAIT_SECONDS - LOOK_SECONDS)
    clock.most = 8.0
    clock.pass_by(watch, trials, LOOK_SECONDS)
    clock.most = 4.0
    clock.pass_by(watch, trials, WAIT_SECONDS - LOOK_SECONDS)
    with pytest.raises(NodeGoneError) as gone:
        clock.pass_by(watch, trials, 2 * LOOK_SECONDS)
    assert gone.value.trial == "0001"
    assert str(gone.value) == (
        "no node of 8 CPU, on which it was to run alone, came within 5 minutes: it runs alone on the largest node "
        "there is"
    )


@pytest.mark.parametrize("waiting", [trial("0000", 8.0, "RUNNING"), trial("0000", 8.0, alone=False)])
def test_what_runs_and_what_shares_is_not_watched(waiting, clock):
    clock.most = 4.0
    clock.pass_by(clock.watch(), [waiting], 10 * WAIT_SECONDS)


def test_where_no_trial_fits_at_all_nothing_is_gained_by_asking_for_less(clock):
    clock.most = 0.5
    clock.pass_by(clock.watch(), [trial("0000", 8.0)], 10 * WAIT_SECONDS)


def test_tune_may_pickle_it(clock):
    assert isinstance(pickle.loads(pickle.dumps(clock.watch())), tune.Callback)
