"""When a sweep has used up the time or the epochs it was given."""

from __future__ import annotations

from tuner.sweeps.journal import Journal
from tuner.sweeps.spec import Budget

__all__ = ["is_spent", "spent_part"]


def is_spent(budget: Budget, journal: Journal, unwritten: int) -> bool:
    """Whether no epoch may begin any more; once that has decided something, it stays so.

    Time is the wall-clock time of all sessions from their first event, Ray's start included. Epochs under way are
    finished and kept: with n trials at once, at most n − 1 epochs come after the last one paid for.

    unwritten: epochs that are done and not in the journal yet.
    """
    return journal.sweep.spent or spent_part(budget, journal, unwritten) is not None


def spent_part(budget: Budget, journal: Journal, unwritten: int = 0) -> str | None:
    """Which part of the budget is spent, `epochs` or `time`; None for none."""
    if budget.epochs is not None and journal.sweep.epochs + unwritten >= budget.epochs:
        return "epochs"
    return "time" if budget.time is not None and journal.seconds >= budget.time else None
