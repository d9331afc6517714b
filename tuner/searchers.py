"""Optuna behind Tune's searcher interface, fed from the journal alone."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from search_spaces.compile import distributions, suggest_trial
from search_spaces.space import Space
from tuner.journal import Event, Journal, Sweep, Trial

__all__ = ["JournalSearcher", "ask", "study_of"]

STATES = {
    "completed": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "budget": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "error": TrialState.FAIL,
}

Assignment = dict[str, Any]


def ask(sweep: Sweep, space: Space, sampler: str, seed: int, concurrent: bool) -> Assignment:
    """The next assignment: a function of what the sweep has seen, the seed and the number of the ask.

    Sampler and study are built anew, so that nothing is remembered but the journal.
    """
    study = study_of(sweep, space, _sampler(sampler, _seed_of(seed, len(sweep.trials)), concurrent))
    return suggest_trial(study.ask(), space)


def _seed_of(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=4).digest(), "little")


def _sampler(kind: str, seed: int, concurrent: bool) -> BaseSampler:
    if kind == "random":
        return RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=concurrent)


def study_of(sweep: Sweep, space: Space, sampler: BaseSampler) -> optuna.Study:
    """What Optuna is told: pruned trials as PRUNED with their values by epoch, diverged and failed ones as FAIL."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    best_is = StudyDirection.MAXIMIZE if sweep.header["direction"] == "max" else StudyDirection.MINIMIZE
    study = optuna.create_study(direction=best_is, sampler=sampler)
    study.add_trials([_frozen(trial, space, sweep.header["metric"]) for trial in sweep.trials.values()])
    return study


def _frozen(trial: Trial, space: Space, metric: str) -> FrozenTrial:
    state = STATES.get(trial.stop_reason or "", TrialState.RUNNING)
    values = {report.epoch: report.metrics[metric] for report in trial.reports if metric in report.metrics}
    return optuna.trial.create_trial(
        state=state,
        params=trial.assignment,
        distributions=distributions(space, trial.assignment),
        value=trial.last[metric] if state == TrialState.COMPLETE else None,
        intermediate_values=values,
    )


class JournalSearcher(Searcher):  # type: ignore[misc]
    """Hands out unfinished trials of the journal first, then new ones up to `n_trials`, then no more.

    The first is the space's default configuration. Results reach the study through the journal, never through Tune.

    resolved: an assignment as (configuration as plain data, method). on_event: called with every line written.
    settle: decides on paused trials. is_spent: whether no epoch may begin any more, given the number of epochs that are
    done and not written yet.
    """

    def __init__(
        self,
        journal: Journal,
        space: Space,
        base: Mapping[str, Any],
        resolved: Callable[[Assignment], tuple[dict[str, Any], str]],
        *,
        sampler: str,
        seed: int,
        n_trials: int,
        concurrency: int,
        on_event: Callable[[Event], None],
        settle: Callable[[], None] = lambda: None,
        is_spent: Callable[[int], bool] = lambda unwritten: False,
    ) -> None:
        super().__init__()
        self._journal, self._space, self._base, self._resolved = journal, space, base, resolved
        self._sampler, self._seed, self._n_trials, self._concurrency = sampler, seed, n_trials, concurrency
        self._on_event, self._settle, self._is_spent = on_event, settle, is_spent
        self._handed: set[tuple[str, int]] = set()

    def suggest(self, trial_id: str) -> Mapping[str, Any] | str | None:
        if self._journal.sweep.spent:
            return str(Searcher.FINISHED)
        self._settle()
        unfinished = [trial for trial in self._journal.sweep.trials.values() if trial.unfinished]
        active = [trial for trial in unfinished if not trial.paused]
        waiting = [trial for trial in active if (trial.id, trial.pauses) not in self._handed]
        all_asked = len(self._journal.sweep.trials) >= self._n_trials
        if all_asked and not unfinished:
            return str(Searcher.FINISHED)
        if len(active) - len(waiting) >= self._concurrency or (all_asked and not waiting):
            return None
        if self._is_spent(0):
            self._on_event(self._journal.append("budget"))
            return str(Searcher.FINISHED)
        trial = waiting[0] if waiting else self._new_trial()
        self._handed.add((trial.id, trial.pauses))
        return {"trial": trial.id, "config": json.dumps(trial.config), "epochs_done": trial.epochs}

    def _new_trial(self) -> Trial:
        sweep = self._journal.sweep
        number = len(sweep.trials)
        assignment = (
            ask(sweep, self._space, self._sampler, self._seed, self._concurrency > 1)
            if number
            else self._space.default(self._base)
        )
        config, method = self._resolved(assignment)
        trial = f"{number:04}"
        self._on_event(
            self._journal.append("ask", trial=trial, number=number, assignment=assignment, config=config, method=method)
        )
        return sweep.trials[trial]

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """The journal has it already."""

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """The journal has it already."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its searcher for a restore that is never asked for."""
        return object, ()
