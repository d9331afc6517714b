"""What came of a sweep."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.config import TrialConfig
from trainables.config.paths import parse_config, plain
from trainables.errors import StorageError
from trainables.folder import bytes_in
from trainables.object_storage import folder_at
from trainables.ranking import BY_LAST, Ranking
from tuner.planning.plans import Plan
from tuner.search.duplicates import all_known, is_exhausted
from tuner.search.past_best import impatience_note, past_best_note
from tuner.sweeps.journal import Journal
from tuner.sweeps.metrics import pareto_front
from tuner.sweeps.spec import Budget
from tuner.sweeps.state import Trial
from tuner.sweeps.status import ranked_trials, spent_part, unranked
from tuner.tracking.tracker import Tracker

SHOWN_TRIALS = 5


@dataclass(frozen=True)
class RankedTrial:
    """A configuration whose trials have completed, as the journal knows it. run_id: None until MLflow has it.

    Of several seeds trial, run_id and config are the first one's, metrics the means, and stderr their standard errors.
    """

    run_id: str | None
    trial: str
    method: str
    stop_reason: str
    outcome: str | None
    metrics: dict[str, float]
    stderr: dict[str, float] | None
    seeds: list[int]
    run_ids: list[str | None]
    config: TrialConfig


@dataclass(frozen=True)
class SweepResult:
    """What came of a sweep. ranked: completed trials, best by the first metric first.

    unsent: how many records MLflow lacks; unsent_files: of how many trials it lacks files; tracker_error: why.

    unranked: which completed trials cannot be ranked, and why.
    pareto: of several metrics the trials that no other dominates, ranked; empty for one metric.
    storage: the root it is kept in; folder: its own on this machine. disk_bytes: what it takes there.
    finished: `completed`, `budget`, or else it can be resumed.
    exhausted: why nothing is left to try, None where something is.
    ranking: by which epoch trials are ranked. impatient: which trials patience has ended. past_best: which of the
    best trials were better before.
    planned: how many trials it was to have. repeats: how many seeds each configuration has.
    spent: which part of the budget ended it, `time` or `epochs`. tracking_uri: as it was asked for.
    """

    name: str
    experiment: str
    sweep_id: str
    parent_run_id: str | None
    metrics: tuple[str, ...]
    stop_reasons: dict[str, int]
    epochs: int
    wall_s: float
    storage: str
    folder: Path
    disk_bytes: int
    finished: str | None
    ranked: list[RankedTrial]
    unranked: list[str]
    pareto: list[RankedTrial]
    searched: tuple[str, ...]
    exhausted: str | None
    planned: int
    repeats: int
    budget: Budget
    spent: str | None
    unsent: int
    unsent_files: int
    tracker_error: str
    exit_code: int
    ranking: Ranking = BY_LAST
    impatient: str | None = None
    past_best: str | None = None
    tracking_uri: str | None = None

    @property
    def metric(self) -> str:
        """What trials are ranked by."""
        return self.metrics[0]

    @property
    def place(self) -> str:
        """Where its state is: a path, or a URI."""
        return str(folder_at(self.storage) / self.name)

    @property
    def n_trials(self) -> int:
        return sum(self.stop_reasons.values())

    @property
    def best(self) -> RankedTrial | None:
        """The best completed trial, None where none has completed."""
        return self.ranked[0] if self.ranked else None

    def document(self) -> dict[str, Any]:
        """The result as plain data; `pareto` where there are several metrics."""
        names = ("name", "experiment", "sweep_id", "parent_run_id", "n_trials", "stop_reasons", "epochs", "wall_s")
        front = {"pareto": list(map(_document, self.pareto))} if len(self.metrics) > 1 else {}
        best = self.best and _document(self.best)
        own = {name: getattr(self, name) for name in names}
        return {**own, "ranking": self.ranking.kind, "past_best": self.past_best, "best": best, **front}


def _document(trial: RankedTrial) -> dict[str, Any]:
    return {**vars(trial), "config": plain(trial.config)}


def result_of(
    plan: Plan, journal: Journal, tracker: Tracker, folder: Path, unsent: int, wall_s: float, exit_code: int
) -> SweepResult:
    """The result as the journal has it, with the ids that MLflow gave."""
    sweep, run_ids = journal.sweep, tracker.run_ids()
    ranked = [_ranked(trial, run_ids) for trial in ranked_trials(sweep)]
    return SweepResult(
        name=sweep.header["name"],
        experiment=plan.spec.tracking.experiment,
        sweep_id=sweep.header["sweep_id"],
        parent_run_id=tracker.parent_run_id,
        metrics=plan.metrics,
        stop_reasons=dict(Counter(trial.stop_reason or "interrupted" for trial in sweep.trials.values())),
        epochs=sum(trial.epochs for trial in sweep.trials.values()),
        wall_s=wall_s,
        storage=plan.spec.storage,
        folder=folder,
        disk_bytes=_bytes_taken(plan.spec.storage, folder.name),
        finished=sweep.finished,
        ranked=ranked,
        unranked=unranked(sweep),
        pareto=_pareto(ranked, plan) if len(plan.metrics) > 1 else [],
        searched=tuple(plan.space.dimensions),
        exhausted=all_known(plan.space) if is_exhausted(sweep, plan.space) else None,
        planned=sweep.planned_trials,
        repeats=sweep.repeats,
        budget=plan.spec.budget,
        spent=spent_part(plan.spec.budget, journal) if sweep.spent else None,
        unsent=unsent,
        unsent_files=len(tracker.unsent_files),
        tracker_error=tracker.error or next(iter(tracker.unsent_files.values()), ""),
        exit_code=exit_code,
        ranking=sweep.ranking,
        impatient=impatience_note(sweep.trials.values()),
        past_best=past_best_note(ranked_trials(sweep)[:SHOWN_TRIALS]),
        tracking_uri=plan.spec.tracking.uri,
    )


def _bytes_taken(storage: str, name: str) -> int:
    """Of a storage that cannot be reached any more 0 are known."""
    try:
        return bytes_in(folder_at(storage) / name)
    except StorageError:
        return 0


def _pareto(ranked: list[RankedTrial], plan: Plan) -> list[RankedTrial]:
    values = [[trial.metrics.get(metric, math.nan) for metric in plan.metrics] for trial in ranked]
    return [ranked[row] for row in pareto_front(values, plan.directions)]


def _ranked(trial: Trial, run_ids: Mapping[str, str]) -> RankedTrial:
    return RankedTrial(
        run_id=run_ids.get(trial.id),
        trial=trial.id,
        method=trial.method,
        stop_reason="completed",
        outcome=trial.outcome,
        metrics=dict(trial.ranked),
        stderr=trial.stderr,
        seeds=trial.seeds,
        run_ids=[run_ids.get(run.id) for run in trial.runs or (trial,)],
        config=parse_config(trial.config),
    )
