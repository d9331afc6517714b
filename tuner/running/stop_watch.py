"""A signal that has come is acted on between two steps of Tune's loop, where nothing is half done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray import tune

__all__ = ["StopAskedError", "StopWatch"]


class StopAskedError(Exception):
    """Ends Tune's loop as an error does: Tune gives its places on the cluster back then, and not after an interrupt."""


class StopWatch(tune.Callback):  # type: ignore[misc]
    """Asks before each step; ends the loop with StopAskedError, and the workers with it, which may be amid an epoch.

    asked: whether the loop shall end. kill: ends the worker of a trial of Tune's.
    """

    def __init__(self, asked: Callable[[], bool], kill: Callable[[Any], None]) -> None:
        self._asked, self._kill = asked, kill

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        if not self._asked():
            return
        for trial in trials:
            self._kill(trial)
        raise StopAskedError

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its callbacks for a restore that is never asked for."""
        return tune.Callback, ()
