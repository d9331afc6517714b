"""A signal that has come is acted on between two steps of Tune's loop: lanes save what they have reported, and end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray import tune

from tuner.cluster.signals import Signals, StopSignal
from tuner.running.dispatcher import Dispatcher

SAVE_SECONDS = 3.0
"""What lanes are given from the signal on, of the ten in which the process has to end. One that is amid a longer epoch
has saved the epoch before."""


class StopAskedError(Exception):
    """Ends Tune's loop as an error does: Tune gives its places on the cluster back then, and not after an interrupt."""


class StopWatch(tune.Callback):  # type: ignore[misc]
    """Asks before each step whether a signal has come. Where one has, lanes end in order, and the loop once all have or
    their time is up: with StopSignal on a Ray that ends with the sweep, which takes milliseconds; on one that stays
    with StopAskedError, the workers ended with it.

    kill: ends the worker of a trial of Tune's, which may be amid an epoch.
    """

    def __init__(self, signals: Signals, stays: bool, dispatcher: Dispatcher, kill: Callable[[Any], None]) -> None:
        self._signals, self._stays, self._dispatcher, self._kill = signals, stays, dispatcher, kill
        self._stops = False

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        if self._signals.pending:
            self._signals.acknowledge()  # what follows may take seconds
            self._stops = True
            self._dispatcher.stop()
        if not self._stops or (self._signals.left(SAVE_SECONDS) and not self._dispatcher.is_quiet):
            return
        if not self._stays:
            raise StopSignal
        for trial in trials:
            self._kill(trial)
        raise StopAskedError

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its callbacks for a restore that is never asked for."""
        return tune.Callback, ()
