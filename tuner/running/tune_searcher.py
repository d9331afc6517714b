"""The searcher behind Tune's interface: what is handed out next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.tune.search import Searcher

from tuner.running.handing_out import HandingOut


class JournalSearcher(Searcher):  # type: ignore[misc]
    """Results reach the study through the journal, never through Tune."""

    def __init__(self, handing_out: HandingOut) -> None:
        super().__init__()
        self._handing_out = handing_out

    def suggest(self, trial_id: str) -> Mapping[str, Any] | str | None:
        return self._handing_out.next_trial()

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """The journal has it already."""

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """The journal has it already."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its searcher for a restore that is never asked for."""
        return object, ()
