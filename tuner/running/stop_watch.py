"""A signal that has come is acted on between two steps of Tune's loop, where nothing is half done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray import tune

from tuner.cluster.signals import Signals


class StopAskedError(Exception):
    """Ends Tune's loop as an error does: Tune gives its places on the cluster back then, and not after an interrupt."""


class StopWatch(tune.Callback):  # type: ignore[misc]
    """Asks before each step whether a signal has come, and ends the loop where one has: with StopSignal on a Ray that
    ends with the sweep, which takes milliseconds; on one that stays with StopAskedError, the workers ended with it.

    kill: ends the worker of a trial of Tune's, which may be amid an epoch.
    """

    def __init__(self, signals: Signals, stays: bool, kill: Callable[[Any], None]) -> None:
        self._signals, self._stays, self._kill = signals, stays, kill

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        if not self._stays:
            self._signals.check()
        elif self._signals.pending:
            self._signals.acknowledge()  # what follows may take seconds
            for trial in trials:
                self._kill(trial)
            raise StopAskedError

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its callbacks for a restore that is never asked for."""
        return tune.Callback, ()
