"""A signal that has come is acted on between two steps of Tune's loop, where nothing is half done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray import tune

__all__ = ["StopWatch"]


class StopWatch(tune.Callback):  # type: ignore[misc]
    """Asks before each step. check: raises where the loop shall end."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
        self._check()

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its callbacks for a restore that is never asked for."""
        return tune.Callback, ()
