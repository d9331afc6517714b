"""When a sweep has used up the time or the epochs it was given."""

from __future__ import annotations

from collections.abc import Callable

from tuner.journal import Event, Journal
from tuner.spec import Budget

__all__ = ["is_spent"]


def is_spent(budget: Budget, journal: Journal, on_event: Callable[[Event], None]) -> bool:
    """Whether no epoch may begin any more; written down the first time it is so, and so for good.

    Time is the wall-clock time of all sessions from their first event, Ray's start included. Epochs under way are
    finished and kept: with n trials at once, at most n − 1 epochs come after the last one paid for.
    """
    if journal.sweep.spent is None:
        spent = _spent(budget, journal)
        if spent:
            on_event(journal.append("budget", spent=spent))
    return journal.sweep.spent is not None


def _spent(budget: Budget, journal: Journal) -> str | None:
    if budget.epochs is not None and journal.sweep.epochs >= budget.epochs:
        return "epochs"
    return "time" if budget.time is not None and journal.seconds >= budget.time else None
