"""Trials that say nothing are named, and those whose epochs take too long end, by the clock and nothing else."""

import pickle
from types import SimpleNamespace

import pytest
from events import lines_of
from lane_loop import Bench
from ray import tune

from tuner.running.lost_workers import why
from tuner.running.silence import LOOK_SECONDS, SLOWEST, WHILE_SECONDS, SilenceWatch
from tuner.sweeps.spec import parse_spec


class Watched:
    """Lanes as trials of Tune's, and a clock."""

    def __init__(self, path, limit, members=1):
        self.loop = Bench(path, lanes=2, members=members, n_trials=2 * members, epochs=99)
        self.loop.open()
        self.trials = [self._of_tune(lane) for lane in self.loop.workers]
        self.now, self.told, self.killed = 0.0, [], []
        self.watch = SilenceWatch(
            self.loop.journal, limit, self.told.append, self.loop.dispatcher, self.kill, lambda: self.now
        )

    @staticmethod
    def _of_tune(lane):
        factory = tune.PlacementGroupFactory([{"CPU": 2.0, "GPU": 0.5}])
        return SimpleNamespace(
            trial_id=f"tune-{lane}", config={"lane": lane}, status="RUNNING", placement_group_factory=factory
        )

    def kill(self, trial):
        """As Tune does: the death of a worker is told to the scheduler."""
        self.killed.append(trial.config["lane"])
        self.loop.lose(trial.config["lane"], why(""))
        trial.status = "ERROR"

    def wait(self, seconds, step=LOOK_SECONDS / 4):
        """What Tune's loop does while nothing is heard."""
        for _ in range(round(seconds / step)):
            self.now += step
            self.watch.on_step_begin(0, self.trials)

    def report(self, lane):
        self.loop.step(lane)
        self.watch.on_trial_result(0, self.trials, self.trials[lane], {})

    def ends(self):
        return [event for event in lines_of(self.loop.journal.events) if event["event"] in ("end", "failure")]


@pytest.fixture
def watched(tmp_path):
    return lambda limit=None, members=1: Watched(tmp_path / "journal.jsonl", limit, members)


def test_a_silent_trial_is_named_with_what_it_does_and_again_when_that_has_doubled(watched):
    own = watched()
    own.trials[0].status = "PENDING"
    for _ in range(3):
        own.wait(WHILE_SECONDS / 3 - LOOK_SECONDS)
        own.report(1)
    assert own.told == []
    own.wait(5 * LOOK_SECONDS)
    assert own.told == ["Trial 0000: nothing heard for 60 s; it waits for a worker with 2 CPU and 0.5 GPU"]
    own.trials[0].status = "RUNNING"
    own.wait(4.5 * WHILE_SECONDS)
    assert [line.partition(" s;")[2] for line in own.told if "0000" in line][1:] == [" it begins, with epoch 1"] * 3
    assert [line.partition(" s;")[2] for line in own.told if "0001" in line] == [" it trains epoch 4"] * 3


def test_trials_whose_epochs_are_long_are_not_named_for_that(watched):
    own = watched()
    own.wait(2 * WHILE_SECONDS)
    own.report(0)
    own.report(1)
    told = len(own.told)
    own.wait(SLOWEST * 2 * WHILE_SECONDS - 2 * LOOK_SECONDS)
    assert len(own.told) == told
    own.wait(4 * LOOK_SECONDS)
    assert len(own.told) == told + 2


def test_an_epoch_that_takes_too_long_ends_its_trial_at_once_and_no_other(watched):
    own = watched(limit=5.0)
    for _ in range(4):
        own.wait(3.0)
        own.report(0)
    assert own.killed == [1]
    (end,) = own.ends()
    assert (end["trial"], end["reason"], end["kind"]) == ("0001", "error", "timeout")
    assert end["error"] == "epoch 1 took longer than resources.epoch_timeout, 5 s"
    trial = own.loop.trials["0001"]
    assert (trial.unfinished, trial.failed) == (False, True)
    own.wait(7.0)
    assert own.killed == [1, 0]
    assert own.ends()[-1]["error"] == "epoch 5 took longer than resources.epoch_timeout, 5 s"


def test_a_report_that_waits_behind_those_of_others_is_heard_before_its_trial_is_ended(watched):
    """Tune tells one a step; a driver that was busy for long has many to hear."""
    own = watched(limit=5.0)
    own.wait(4.75)
    for _ in range(12):
        own.wait(0.25)
        own.report(0)
    own.report(1)
    own.wait(4.0)
    assert own.killed == []


def test_a_trial_that_hangs_is_ended_though_others_never_fall_silent(watched):
    own = watched(limit=5.0)
    for _ in range(60):
        own.wait(0.25)
        own.watch.on_trial_result(0, own.trials, own.trials[0], {})
    assert own.killed == [1]


def test_a_trial_that_waits_for_a_worker_is_not_ended(watched):
    own = watched(limit=5.0)
    for trial in own.trials:
        trial.status = "PENDING"
    own.wait(100.0)
    assert own.killed == []


def test_time_in_which_the_driver_was_suspended_does_not_count(watched):
    """What workers have said meanwhile is still to be heard."""
    own = watched(limit=5.0)
    own.wait(100 * 3600.0, step=3600.0 * 25)
    assert own.killed == own.told == []


def test_none_ends_without_a_limit(watched):
    own = watched()
    own.wait(3600.0, step=LOOK_SECONDS)
    assert own.killed == own.ends() == []


def test_a_lane_has_the_time_of_all_its_trials_and_is_then_lost_to_none_of_them(watched):
    own = watched(limit=5.0, members=3)
    own.wait(14.0)
    assert own.killed == []
    own.wait(4.0)
    assert own.killed == [0, 1]
    ends = own.ends()
    assert {(end["event"], end["kind"], end["members"]) for end in ends} == {("failure", "timeout", 3)}
    assert {end["error"] for end in ends} == {
        "a lane of 3 trials took longer than 3 times resources.epoch_timeout, 15 s, for an epoch of each"
    }
    assert {(trial.width, trial.failures) for trial in own.loop.trials.values()} == {(1, 0)}


def test_a_silent_lane_is_named_with_its_trials(watched):
    own = watched(members=6)
    own.trials[0].status = "PENDING"
    own.wait(WHILE_SECONDS + 2 * LOOK_SECONDS)
    assert own.told == [
        f"Trials {', '.join(lane.trials[:4])} and 2 more: nothing heard for 60 s; {doing}"
        for lane, doing in zip(
            own.loop.dispatcher.lanes,
            ("they wait for a worker with 2 CPU and 0.5 GPU", "they train in one lane"),
            strict=True,
        )
    ]


def test_a_lane_that_waits_for_orders_is_not_silent(watched):
    own = watched(limit=5.0)
    own.trials.pop()
    own.loop.dispatcher.lanes.get(0).trains = False
    own.wait(10 * WHILE_SECONDS)
    own.loop.dispatcher.lanes.get(0).trains = True
    own.wait(4.0)
    assert (own.killed, own.told) == ([], [])
    own.wait(4.0)
    assert own.killed == [0]


@pytest.mark.parametrize(("given", "seconds"), [("90s", 90.0), (2.5, 2.5), ("2h", 7200.0), ("none", None)])
def test_the_limit_is_a_time(given, seconds):
    assert parse_spec({"resources": {"epoch_timeout": given}}).resources.epoch_timeout == seconds


def test_tune_may_pickle_it(watched):
    assert isinstance(pickle.loads(pickle.dumps(watched().watch)), tune.Callback)
