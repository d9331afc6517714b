"""How sweeps stand, read from their journals."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from trainables.errors import UserError
from trainables.paths import suggest
from tuner.journal import Sweep, Trial, fold, read_journal
from tuner.metrics_info import is_result, rank_key

__all__ = ["JOURNAL", "SweepStatus", "TrialStatus", "ranked_trials", "standing", "sweep_statuses"]

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class TrialStatus:
    """A trial's state and the sweep's metric at its last epoch.

    state: its stop reason, else `paused`, `running` or `interrupted`.
    """

    trial: str
    method: str
    state: str
    epochs: int
    value: float | None


@dataclass(frozen=True)
class SweepStatus:
    """A sweep, how its trials stand, and the best of the completed ones.

    state: `running`, `completed`, `interrupted` or `budget`.
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
    """Completed trials with a finite metric, best first, ties by id."""
    metric, direction = sweep.header["metric"], sweep.header["direction"]
    usable = [
        trial for trial in sweep.trials.values() if trial.stop_reason == "completed" and is_result(trial.last, metric)
    ]
    return sorted(usable, key=lambda trial: rank_key(trial.last[metric], direction, trial.id))


def sweep_statuses(storage: Path, name: str | None = None) -> list[SweepStatus]:
    """The sweeps in a storage folder by name, or the one of this name."""
    names = sorted(path.parent.name for path in storage.glob(f"*/{JOURNAL}"))
    if name is not None and name not in names:
        known = suggest(name, names) if names else "; there is none yet"
        raise UserError(f"name: no sweep {name!r} in {storage}{known}")
    return [_status(storage / known) for known in names if name in (None, known)]


def _status(folder: Path) -> SweepStatus:
    unended = "running" if _is_locked(folder) else "interrupted"
    return standing(fold(read_journal(folder / JOURNAL)), folder.name, unended)


def standing(sweep: Sweep, name: str, unended: str = "running") -> SweepStatus:
    """How a sweep stands; unended: the state of what has no end yet."""
    trials = list(sweep.trials.values())
    ranked = ranked_trials(sweep) if trials else []
    metric = sweep.header.get("metric", "")
    return SweepStatus(
        name=name,
        state=sweep.finished or unended,
        planned=sweep.header["spec"]["search"]["trials"] if sweep.header else 0,
        n_trials=len(trials),
        stop_reasons=dict(Counter(_state(trial, unended) for trial in trials)),
        epochs=sum(trial.epochs for trial in trials),
        metric=metric,
        best_trial=ranked[0].id if ranked else None,
        best_value=ranked[0].last[metric] if ranked else None,
        trials=[
            TrialStatus(trial.id, trial.method, _state(trial, unended), trial.epochs, trial.last.get(metric))
            for trial in trials
        ],
    )


def _state(trial: Trial, unended: str) -> str:
    return trial.stop_reason or ("paused" if trial.paused and unended == "running" else unended)


def _is_locked(folder: Path) -> bool:
    """Whether a driver holds the sweep."""
    try:
        with FileLock(folder / "lock", timeout=0):
            return False
    except Timeout:
        return True
