"""Ctrl-C and SIGTERM as an orderly stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

__all__ = ["Signals"]


class _Stopped(KeyboardInterrupt):
    """A signal asked for an orderly stop."""


class Signals:
    """SIGINT and SIGTERM while a sweep runs. received: the first one's number; native code may hide the exception."""

    def __init__(self) -> None:
        self.received: int | None = None

    def _stop(self, number: int, frame: FrameType | None) -> NoReturn:
        self.received = self.received or number
        raise _Stopped

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Takes the signals over; in a thread, which may not, the process keeps its own way."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextmanager
    def cutting_short(self) -> Iterator[None]:
        """As `caught`, and a signal ends the block and nothing more."""
        with suppress(_Stopped), self.caught():
            yield
