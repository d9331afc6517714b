"""What Tune's scheduler adds to the decisions: which waiting trial takes a place, and nothing at a trial's end."""

import json
import pickle
from types import SimpleNamespace

import pytest
from ray.tune.utils import flatten_dict
from tune_loop import TuneLoop

from trainables.errors import RESULT_KEY
from tuner.running import tune_scheduler as schedulers
from tuner.running.tune_scheduler import JournalScheduler


@pytest.fixture
def loop(tmp_path):
    made = TuneLoop(tmp_path / "journal.jsonl", None, lambda *_: -1.0, n_trials=3, epochs=9, concurrency=3)
    made.fill()
    return made


@pytest.fixture
def scheduler(loop):
    return JournalScheduler(loop.decisions)


def test_tunes_own_end_of_a_trial_files_nothing(loop, scheduler):
    """Stock ASHA files the last result a second time when Tune tells it of the end."""
    loop.tell("0000", 1)
    events = list(loop.journal.events)
    trial = SimpleNamespace(trial_id="t", config={"trial": "0000"})
    last = flatten_dict({RESULT_KEY: json.dumps({"trial": "0000", "epoch": 5, "metrics": {}, "diverged": False})})
    scheduler.on_trial_add(None, trial)
    scheduler.on_trial_complete(None, trial, last)
    scheduler.on_trial_remove(None, trial)
    assert loop.journal.events == events


def test_tune_can_pickle_it(scheduler):
    scheduler.unpicklable = (line for line in ())
    pickle.loads(pickle.dumps(scheduler))


def test_a_place_that_is_free_is_the_newest_trials_until_the_first_has_waited_too_long(scheduler, monkeypatch):
    trials = [SimpleNamespace(status="PENDING") for _ in range(3)]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    assert scheduler.choose_trial_to_run(None) is None
    monkeypatch.setattr(schedulers, "WAIT_SECONDS", 0.0)
    for n, status in enumerate(("RUNNING", "ERROR", "TERMINATED")):
        assert scheduler.choose_trial_to_run(None) is trials[n]
        assert scheduler.choose_trial_to_run(None) is trials[n]
        trials[n].status = status
    assert scheduler.choose_trial_to_run(None) is None
