"""A signal that has come ends Tune's loop between two of its steps, once the lanes have saved."""

import pickle
import signal

import pytest
from ray import tune

from tuner.cluster.signals import Signals, StopSignal
from tuner.running.stop_watch import SAVE_SECONDS, StopAskedError, StopWatch


@pytest.fixture
def signals(monkeypatch):
    monkeypatch.setattr("_thread.start_new_thread", lambda *given: None)
    return Signals()


class Lanes:
    """What a dispatcher does of a stop. is_quiet: whether all lanes have ended."""

    def __init__(self):
        self.stops, self.is_quiet = 0, False

    def stop(self):
        self.stops += 1


@pytest.fixture
def lanes():
    return Lanes()


@pytest.mark.parametrize("in_time", [True, False])
@pytest.mark.parametrize(("stays", "raised"), [(True, StopAskedError), (False, StopSignal)])
def test_the_loop_ends_once_its_lanes_have_saved_or_their_time_is_up(
    stays, raised, in_time, signals, lanes, monkeypatch
):
    """Tune gives back what it holds of a Ray that stays after an error alone; one that ends takes the workers along."""
    now, killed = [100.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    watch = StopWatch(signals, stays, lanes, killed.append)
    watch.on_step_begin(0, ["0", "1"])
    assert (killed, lanes.stops) == ([], 0)
    signals.hear(signal.SIGINT)
    for _ in range(3):
        watch.on_step_begin(1, ["0", "1"])
    assert (killed, lanes.stops) == ([], 1), "lanes save"
    assert not signals.pending, "which is not interrupted"
    lanes.is_quiet = in_time
    now[0] += 0 if in_time else SAVE_SECONDS
    with pytest.raises(raised):
        watch.on_step_begin(2, ["0", "1"])
    assert killed == (["0", "1"] if stays else [])


def test_tune_may_pickle_it(signals, lanes):
    assert isinstance(pickle.loads(pickle.dumps(StopWatch(signals, True, lanes, print))), tune.Callback)
