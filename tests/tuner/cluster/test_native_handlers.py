"""What Ray's native code sets for a signal is undone, in whatever thread it was started."""

import ctypes
import os
import signal
import subprocess
import sys
import threading

import pytest

from tuner.cluster.ray_thread import done_by_ray_thread, in_ray_thread
from tuner.cluster.signals import STOPS

IGNORED = 1  # SIG_IGN, as C has it


def as_ray_does(*numbers):
    """A handler that Python does not know of."""
    for number in numbers:
        ctypes.CDLL(None).signal(int(number), ctypes.c_void_p(IGNORED))


@pytest.fixture
def heard():
    """What arrives, of each signal that asks to stop."""
    got = []
    before = {number: signal.signal(number, lambda number, frame: got.append(number)) for number in STOPS}
    yield got
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOPS)
def test_the_hosts_own_handler_is_heard_after_work_of_the_ray_thread(number, heard):
    """Asked for in a thread of a service, where nothing else brings the handlers back."""
    asks = threading.Thread(target=done_by_ray_thread, args=(lambda: as_ray_does(*STOPS),))
    asks.start()
    asks.join()
    os.kill(os.getpid(), number)
    assert heard == [number]


def test_work_that_fails_leaves_them_too(heard):
    failed = in_ray_thread(lambda: as_ray_does(signal.SIGTERM) or 1 / 0)
    assert isinstance(failed.exception(60), ZeroDivisionError)
    os.kill(os.getpid(), signal.SIGTERM)
    assert heard == [signal.SIGTERM]


DIES = """
import ctypes, os, signal, sys
from tuner.cluster.native_handlers import handlers_kept
systems = signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
with handlers_kept():
    ctypes.CDLL(None).signal(int(signal.SIGTERM), ctypes.c_void_p(1))
    signal.signal(signal.SIGTERM, systems)  # as an interrupt leaves us, while Ray is still being started
    ctypes.CDLL(None).signal(int(signal.SIGTERM), ctypes.c_void_p(1))
os.kill(os.getpid(), signal.SIGTERM)
sys.exit(8)
"""


def test_a_handler_that_was_given_back_meanwhile_stays():
    done = subprocess.run([sys.executable, "-c", DIES], check=False)
    assert done.returncode == -signal.SIGTERM, "the system's own, which was there before ours"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_a_ray_thread_of_its_own():
    done_by_ray_thread(lambda: None)
    child = os.fork()
    if child == 0:
        os._exit(done_by_ray_thread(lambda: 7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
