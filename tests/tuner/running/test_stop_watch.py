"""A signal that has come ends Tune's loop between two of its steps, and the workers with it."""

import pickle

import pytest
from ray import tune

from tuner.running.stop_watch import StopAskedError, StopWatch


def test_the_loop_ends_at_the_first_step_after_it_was_asked_to_and_no_worker_goes_on():
    asked, killed = [], []
    watch = StopWatch(lambda: bool(asked), killed.append)
    watch.on_step_begin(0, ["0000", "0001"])
    assert killed == []
    asked.append(True)
    with pytest.raises(StopAskedError):
        watch.on_step_begin(1, ["0000", "0001"])
    assert killed == ["0000", "0001"]


def test_tune_may_pickle_it():
    assert isinstance(pickle.loads(pickle.dumps(StopWatch(lambda: True, print))), tune.Callback)
