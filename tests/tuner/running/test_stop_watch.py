"""A signal that has come ends Tune's loop between two of its steps, and the workers with it."""

import pickle
import signal

import pytest
from ray import tune

from tuner.cluster.signals import Signals, StopSignal
from tuner.running.stop_watch import StopAskedError, StopWatch


@pytest.fixture
def signals(monkeypatch):
    monkeypatch.setattr("_thread.start_new_thread", lambda *given: None)
    return Signals()


@pytest.mark.parametrize(("stays", "raised"), [(True, StopAskedError), (False, StopSignal)])
def test_the_loop_ends_at_the_first_step_after_it_was_asked_to(stays, raised, signals):
    """Tune gives back what it holds of a Ray that stays after an error alone; one that ends takes the workers along."""
    killed = []
    watch = StopWatch(signals, stays, killed.append)
    watch.on_step_begin(0, ["0000", "0001"])
    assert killed == []
    signals.hear(signal.SIGINT)
    with pytest.raises(raised):
        watch.on_step_begin(1, ["0000", "0001"])
    assert killed == (["0000", "0001"] if stays else [])
    assert signals.pending != stays, "what Tune does then is not interrupted"


def test_tune_may_pickle_it(signals):
    assert isinstance(pickle.loads(pickle.dumps(StopWatch(signals, True, print))), tune.Callback)
