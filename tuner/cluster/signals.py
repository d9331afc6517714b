"""SIGINT, SIGTERM and SIGHUP as an orderly stop: kept from the first line to the last, acted on where that is safe."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Literal

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPING = "Stopping; finished epochs are kept"
OVERDUE_SECONDS = 2.0


class StopSignal(KeyboardInterrupt):
    """A signal asks for an orderly stop; it is asked for again until someone acknowledges it."""


class StoppedError(KeyboardInterrupt):
    """A signal has stopped what ran; what was finished is kept.

    number: the signal's. result: what there was by then, of the kind that is returned at the end; None where nothing
    was. exit_code: 128 + number, as a shell has it.
    """

    def __init__(self, number: int, says: str = "", result: Any = None) -> None:
        self.number, self.result = number, result
        super().__init__(f"Stopped by {self.name}; {says}" if says else f"Stopped by {self.name}")

    @property
    def name(self) -> str:
        """The signal's."""
        return signal.Signals(self.number).name

    @property
    def exit_code(self) -> int:
        return 128 + self.number


class Signals:
    """The signals that ask this process to stop. received: the first one's number.

    answer: what a terminal is told at once. In a thread other than the main one it hears nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.answer = ""
        self._at = 0.0
        self._pending = False
        self._patience = OVERDUE_SECONDS
        self._raises: Literal["none", "first", "any"] = "none"
        self._lock = threading.Lock()

    def hear(self, number: int, frame: FrameType | None = None) -> None:
        """The handler: it keeps the first signal, and interrupts where that is allowed, or has been asked in vain."""
        if self.received is None:
            self.received, self._at, self._pending = number, time.monotonic(), True
            self._tell()
            _thread.start_new_thread(self._insist, ())  # which takes no lock that the main thread may hold
        overdue = time.monotonic() - self._at >= self._patience
        if self._raises == "any" or (self._pending and (overdue or self._raises == "first")):
            raise StopSignal

    @property
    def pending(self) -> bool:
        """Whether a signal has come that nobody has acted on."""
        return self._pending

    def check(self) -> None:
        """Raise StopSignal where a signal has come that nobody has acted on."""
        if self._pending:
            raise StopSignal

    def acknowledge(self) -> None:
        """It is being acted on."""
        with self._lock:
            self._pending = False

    def pass_on(self) -> None:
        """A signal that has come too late to be acted on is left to who listens now."""
        if self._pending and self.received is not None:
            self.acknowledge()
            signal.raise_signal(self.received)

    def left(self, seconds: float) -> float:
        """What is left of so many seconds since the signal."""
        return max(0.0, self._at + seconds - time.monotonic())

    @contextmanager
    def kept(self, seconds: float = OVERDUE_SECONDS) -> Iterator[None]:
        """A signal is kept for the next `check`; where none comes for so long, it interrupts after all."""
        before, self._patience = self._patience, seconds
        try:
            with self._raising("none"):
                yield
        finally:
            self._patience = before

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """The first signal interrupts, at once where it came before."""
        with self._raising("first"):
            self.check()
            yield

    @contextmanager
    def cutting_short(self) -> Iterator[None]:
        """Any signal ends the block, and nothing more; one that came before is acted on with it."""
        self.acknowledge()
        with suppress(StopSignal), self._raising("any"):
            yield
        self.acknowledge()

    @contextmanager
    def ending(self, says: str) -> Iterator[None]:
        """A signal interrupts the block, which ends with StoppedError."""
        try:
            with self.interrupting():
                yield
        except StopSignal:
            raise self.stopped(says) from None

    def stopped(self, says: str = "", result: Any = None) -> StoppedError:
        """The error that tells the caller of the signal, which is acknowledged with it."""
        self.acknowledge()
        assert self.received is not None
        return StoppedError(self.received, says, result)

    @contextmanager
    def _raising(self, which: Literal["none", "first", "any"]) -> Iterator[None]:
        before, self._raises = self._raises, which
        try:
            yield
        finally:
            self._raises = before

    def _tell(self) -> None:
        with suppress(OSError):
            if self.answer and os.isatty(2):
                os.write(2, f"\n{self.answer}\n".encode())

    def _insist(self) -> None:
        """Native code, or what hangs, may have swallowed the interruption."""
        while self._pending:
            time.sleep(OVERDUE_SECONDS)
            with self._lock:
                if self._pending and self.received is not None:
                    signal.pthread_kill(threading.main_thread().ident or 0, self.received)


_heard: Signals | None = None


@contextmanager
def stop_signals() -> Iterator[Signals]:
    """Takes the signals over, the first time; a block within another shares its signals. A signal that nobody in the
    block has acted on ends it with StoppedError.

    A signal that is ignored stays so (SIGHUP under nohup, SIGINT behind a shell's `&`), and a handler that was not set
    from Python stays. In a thread, which may not, the process keeps its own way.
    """
    global _heard
    if threading.current_thread() is not threading.main_thread():
        yield Signals()
        return
    if _heard is not None:
        with _told(_heard):
            yield _heard
        return
    _heard = signals = Signals()
    handlers = {number: signal.getsignal(number) for number in STOPS}
    previous = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}
    if previous.get(signal.SIGHUP) is not signal.SIG_DFL:
        previous.pop(signal.SIGHUP, None)
    try:
        with _told(signals):
            for number in previous:
                signal.signal(number, signals.hear)
            yield signals
    finally:
        _heard = None
        for number, handler in previous.items():
            signal.signal(number, handler)
        signals.pass_on()


@contextmanager
def _told(signals: Signals) -> Iterator[None]:
    try:
        yield
    except StopSignal:
        raise signals.stopped() from None


@contextmanager
def handler_kept(number: int) -> Iterator[None]:
    """What Python code sets for a signal while the block lasts is undone."""
    before = signal.getsignal(number)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(number, before)
