"""The one thread that starts and ends Ray."""

import os
from concurrent.futures import Future

import pytest
from ray._private import ray_constants

from tuner.cluster import ray_thread
from tuner.cluster.ray_thread import done_by_ray_thread, in_ray_thread


def takes_signals():
    """Whether Ray's native code handles signals of the process in which it is started now."""
    return not ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER


def test_ray_takes_no_signal_of_this_process_and_those_of_others_as_ever():
    """That it keeps to it, in the midst of its start, is shown in `test_shared_ray` of the integration tests."""
    assert takes_signals()
    assert not done_by_ray_thread(takes_signals)
    failed = in_ray_thread(lambda: 1 / 0)
    assert isinstance(failed.exception(60), ZeroDivisionError)
    assert takes_signals()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_a_ray_thread_of_its_own():
    done_by_ray_thread(lambda: None)
    child = os.fork()
    if child == 0:
        os._exit(done_by_ray_thread(lambda: 7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.timeout(60)
def test_it_may_be_asked_while_it_is_being_asked(monkeypatch):
    """As the garbage collector does, which may close a sweep that was left alone at any moment."""
    within = []

    class Asking(Future):
        def __init__(self):
            super().__init__()
            if not within:
                within.append(None)
                within.append(in_ray_thread(lambda: "within"))

    monkeypatch.setattr(ray_thread, "Future", Asking)
    assert done_by_ray_thread(lambda: "asked") == "asked"
    assert within[1].result(60) == "within"
