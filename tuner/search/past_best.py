"""Trials that are past their best: what they are ranked by is worse than what they had, by more than noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from trainables.ranking import BEST, sign_of
from tuner.sweeps.state import Trial

CHANGES = 8
"""How many of its median changes from epoch to epoch a trial has lost that is past its best: values that only swing
lie some five from their highest to the last."""
NAMED = 3


@dataclass(frozen=True)
class PastBest:
    """epoch, then: of the best. now: what the trial is ranked by."""

    trial: str
    epoch: int
    then: float
    now: float

    def __str__(self) -> str:
        return (
            f"trial {self.trial} is past its best since epoch {self.epoch} ({self.then:.4g} then, {self.now:.4g} now)"
        )


def past_best(trial: Trial) -> PastBest | None:
    """Whether a trial has fallen from its best epoch by more than CHANGES times its median change from one epoch that
    can be compared to the next, and has had as many of them since.

    Parameters
    ----------
    trial
        As it stands.

    Returns
    -------
    PastBest or None
        None where it has not, or is ranked by its best.
    """
    best, metric = trial.best, trial.ranking.metric
    if best is None or trial.ranking.kind == BEST or metric not in trial.ranked:
        return None
    known = [report for report in trial.reports if metric in report.metrics]
    compared = [report for report in known if trial.eligible.is_compared(report.epoch)]
    changes = [abs(one.metrics[metric] - other.metrics[metric]) for one, other in pairwise(compared)]
    lost = sign_of(trial.ranking.direction) * (best.value - trial.ranked[metric])
    since = sum(report.epoch > best.epoch for report in compared)
    if since < CHANGES or lost <= CHANGES * median(changes):
        return None
    return PastBest(trial.id, best.epoch, best.value, trial.ranked[metric])


def impatience_note(trials: Iterable[Trial]) -> str | None:
    """Which trials patience has ended, and why.

    Parameters
    ----------
    trials
        Of a sweep.

    Returns
    -------
    str or None
        None where it was none.
    """
    ended = [trial for trial in trials if trial.why]
    shown = "; ".join(f"trial {trial.id}, {trial.why}" for trial in ended[:NAMED])
    more = f"; and {len(ended) - NAMED} more" if len(ended) > NAMED else ""
    return f"Stopped by patience: {shown}{more}" if ended else None


def past_best_note(trials: Iterable[Trial]) -> str | None:
    """Which of these trials are past their best, and what one can do.

    Parameters
    ----------
    trials
        Of a sweep.

    Returns
    -------
    str or None
        None where none is.
    """
    found = [str(past) for past in map(past_best, trials) if past]
    return (
        f"{'; '.join(found)}; rank by the best epoch with --ranking best, or stop with --patience N" if found else None
    )
