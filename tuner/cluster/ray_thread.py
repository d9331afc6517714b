"""The one thread of this process that starts and ends Ray, for as many as use it at once.

The kernel ends Ray's processes with the thread that started them, and Ray takes SIGTERM's handler in Python where it is
started in the main thread: so one of its own does it, which lives as long as the process. Its native code would take
that handler in any thread, amid the start, and end the process; it is told not to.
"""

from __future__ import annotations

import atexit
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

from tuner.cluster.signals import STOPS

T = TypeVar("T")


class _RayThread(threading.Thread):
    """Does one piece of work after the other."""

    def __init__(self) -> None:
        super().__init__(name="ray", daemon=True)
        self._waiting: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._last: Future[Any] | None = None
        self.start()

    @property
    def is_busy(self) -> bool:
        return self._last is not None and not self._last.done()

    def take(self, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        self._last = future
        self._waiting.put((work, future))
        return future

    def run(self) -> None:
        while True:
            work, future = self._waiting.get()
            try:
                with _signals_left_alone():
                    result = work()
                future.set_result(result)
            except BaseException as error:
                future.set_exception(error)


@contextmanager
def _signals_left_alone() -> Iterator[None]:
    """Where this process connects to a Ray, native code handles no signal of it. Ray reads the setting when it is
    imported; its processes read it anew, and have their handlers."""
    from ray._private import ray_constants

    before = ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER
    ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = True
    try:
        yield
    finally:
        ray_constants.RAY_DISABLE_FAILURE_SIGNAL_HANDLER = before


_lock = threading.RLock()
"""Which may be asked for again where it is held: the garbage collector closes sweeps that were left alone."""
_thread: _RayThread | None = None


def _none_after_a_fork() -> None:
    """A forked process has the memory of its parent, and none of its threads."""
    global _thread, _lock
    _thread, _lock = None, threading.RLock()


os.register_at_fork(after_in_child=_none_after_a_fork)


def in_ray_thread(work: Callable[[], T]) -> Future[T]:
    """What comes of the work, which is done in its turn; at once where it is asked for there."""
    global _thread
    if threading.current_thread() is _thread:
        future: Future[T] = Future()
        future.set_result(work())
        return future
    with _lock:
        _thread = _thread or _RayThread()
        return _thread.take(work)


def done_by_ray_thread(work: Callable[[], T]) -> T:
    """The result of the work, once it is done; raises what it raises. A signal may interrupt the wait."""
    return in_ray_thread(work).result()


def leave_process(code: int) -> NoReturn:
    """End this process at once: Python's own end would take all modules apart, which takes a busy machine ten seconds,
    and would wait for a Ray that is still being started or ended.

    Its work is done: a signal that asks it to stop now ends it as the system does, and not with a stack trace.
    """
    for number in STOPS:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    _flush()
    if _thread is None or not _thread.is_busy:
        atexit._run_exitfuncs()
        _flush()
    os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # a full disk; closed, or never there
            stream.flush()
