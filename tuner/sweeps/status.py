"""How sweeps stand, read from their journals."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainables.errors import UserError
from tuner.sweeps.folder import Storage, unknown
from tuner.sweeps.journal import Journal, check_begun
from tuner.sweeps.metrics import is_result, rank_key, why_not_ranked
from tuner.sweeps.spec import Budget
from tuner.sweeps.state import Sweep, Trial, fold
from tuner.sweeps.storage import open_storage


@dataclass(frozen=True)
class TrialStatus:
    """A trial's state and the sweep's metric at its last epoch.

    state: its stop reason, else `starting` before its first report, `paused`, `running` or `interrupted`.
    """

    trial: str
    method: str
    state: str
    epochs: int
    value: float | None


@dataclass(frozen=True)
class SweepStatus:
    """A sweep, how its trials stand, and the best of the completed ones.

    state: `running`, `completed`, `interrupted` or `budget`; `damaged` where its journal cannot be read.
    """

    name: str
    state: str
    planned: int
    n_trials: int
    stop_reasons: dict[str, int]
    epochs: int
    metric: str
    best_trial: str | None
    best_value: float | None
    trials: list[TrialStatus]

    def document(self) -> dict[str, Any]:
        """The status as plain data."""
        return asdict(self)


def ranked_trials(sweep: Sweep) -> list[Trial]:
    """Completed trials with a finite metric, best first, ties by id; of several seeds one a configuration, which counts
    once all of them have completed."""
    metric, direction = sweep.header["metric"], sweep.header["direction"]
    usable = [trial for trial in _completed(sweep) if is_result(trial.ranked, metric)]
    return sorted(usable, key=lambda trial: rank_key(trial.ranked[metric], direction, trial.id))


def unranked(sweep: Sweep) -> list[str]:
    """Which completed trials cannot be ranked by what the sweep searches by, and why: a text a reason."""
    return why_not_ranked(((trial.id, trial.ranked) for trial in _completed(sweep)), list(sweep.metrics))


def why_none(sweep: Sweep) -> str:
    """Why a sweep has no best trial."""
    reasons = "; ".join(unranked(sweep))
    return f"that has completed can be ranked ({reasons})" if reasons else "has completed yet"


def _completed(sweep: Sweep) -> list[Trial]:
    return [trial for trial in sweep.configurations.values() if trial.stop_reason == "completed"]


def known_sweep(storage: str | Path, name: str) -> Sweep:
    """A sweep as its journal has it, which a driver may be writing; raises UserError for one that is not there."""
    opened = open_storage(storage)
    if name not in opened.names():
        raise unknown(opened, name)
    sweep = _folded(opened, name)
    check_begun(sweep)
    return sweep


def sweep_statuses(storage: str | Path, name: str | None = None) -> list[SweepStatus]:
    """The sweeps in a storage by name, or the one of this name."""
    opened = open_storage(storage)
    names = opened.names()
    if name is not None and name not in names:
        raise unknown(opened, name)
    return [_status(opened, name)] if name else [_status_or_damaged(opened, known) for known in names]


def _status_or_damaged(storage: Storage, name: str) -> SweepStatus:
    """One journal that cannot be read does not hide the others."""
    try:
        return _status(storage, name)
    except UserError:
        return standing(Sweep(), name, "damaged")


def _status(storage: Storage, name: str) -> SweepStatus:
    unended = _unended(storage, name)
    sweep = _folded(storage, name)
    if sweep.header:
        check_begun(sweep)
    return standing(sweep, name, unended)


def unended_state(storage: str | Path, name: str) -> str:
    """The state of what has no end yet in a sweep."""
    return _unended(open_storage(storage), name)


def _unended(storage: Storage, name: str) -> str:
    return "running" if storage.is_held(name) else "interrupted"


def _folded(storage: Storage, name: str) -> Sweep:
    return fold(storage.lines(name), f"the journal of sweep {name}")


def standing(sweep: Sweep, name: str, unended: str = "running") -> SweepStatus:
    """How a sweep stands; unended: the state of what has no end yet."""
    trials = list(sweep.trials.values())
    ranked = ranked_trials(sweep) if trials else []
    metric = sweep.header.get("metric", "")
    return SweepStatus(
        name=name,
        state=sweep.finished or unended,
        planned=sweep.planned_trials if sweep.header else 0,
        n_trials=len(trials),
        stop_reasons=dict(Counter(_state(trial, unended) for trial in trials)),
        epochs=sum(trial.epochs for trial in trials),
        metric=metric,
        best_trial=ranked[0].id if ranked else None,
        best_value=ranked[0].ranked[metric] if ranked else None,
        trials=[
            TrialStatus(trial.id, trial.method, _state(trial, unended), trial.epochs, trial.ranked.get(metric))
            for trial in trials
        ],
    )


def _state(trial: Trial, unended: str) -> str:
    if trial.stop_reason or unended != "running":
        return trial.stop_reason or unended
    if not trial.epochs:
        return "starting"  # or waiting for a place: the journal knows no more than that it was asked for
    return "paused" if trial.paused else "running"


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
