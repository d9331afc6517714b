"""Lanes behind the interface of Tune's searcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.search import Searcher

from tuner.running.dispatcher import Dispatcher


class LaneSearcher(Searcher):  # type: ignore[misc]
    """Gives Tune a lane wherever one is to be opened; trials are handed out to lanes beside it."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def suggest(self, trial_id: str) -> Mapping[str, Any] | str | None:
        return self._dispatcher.next_lane()

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """The journal has it already."""

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """The journal has it already."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its searcher for a restore that is never asked for."""
        return object, ()
