"""A sweep as a study of Optuna's: what it is told of trials, and what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, NamedTuple, Self

import optuna
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search_spaces.compile import distributions, parameters, suggest_trial
from search_spaces.grid import every_point
from search_spaces.space import Space
from tuner.search.samplers import FIRST_GENERATION, Sampling, even_sampler, new_sampler
from tuner.sweeps.events import EarlierTrial
from tuner.sweeps.metrics import is_result
from tuner.sweeps.state import Sweep, Trial

NO_RESULT = {"state": TrialState.PRUNED}

DRAWS = 30
"""How often a sampler draws again what is known, before another finds what is left."""
MOST_POINTS = 1000
"""How many points are looked through for what is left."""

DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}

Assignment = dict[str, Any]


class Suggestion(NamedTuple):
    """An assignment, and the sampler's memory of it: attributes that go back into the study and its trial."""

    assignment: Assignment
    memory: dict[str, dict[str, Any]]


class OptunaTrials:
    """What Optuna is told of trials, which each ask of a sweep finds as the one before has left it.

    A trial is made when it is first told of, and once more when it has ended; nothing else about it changes.
    """

    def __init__(self) -> None:
        self._priors: list[FrozenTrial] = []
        self._trials: dict[str, FrozenTrial] = {}

    def trials(self, sweep: Sweep, space: Space) -> list[FrozenTrial]:
        """What Optuna is told of all trials.

        Parameters
        ----------
        sweep
            As it stands.
        space
            What it searches.

        Returns
        -------
        list of FrozenTrial
            Those of earlier sweeps, then the sweep's own in the order they were asked for.
        """
        metrics = list(sweep.metrics)
        self._priors += [_Fixed(_known(prior, space, metrics)) for prior in sweep.priors[len(self._priors) :]]
        for trial in sweep.trials.values():
            if not self._holds(trial):
                self._trials[trial.id] = _Fixed(_frozen(trial, space, metrics))
        return [*self._priors[: len(sweep.priors)], *(self._trials[trial] for trial in sweep.trials)]

    def _holds(self, trial: Trial) -> bool:
        told = self._trials.get(trial.id)
        return told is not None and told.state.is_finished() is not trial.unfinished


class _Fixed(FrozenTrial):
    """A trial that studies take as it is and share: Optuna copies what it is given, and changes only copies."""

    def __init__(self, trial: FrozenTrial) -> None:
        vars(self).update(vars(trial))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def suggest(
    sweep: Sweep,
    space: Space,
    sampling: Sampling,
    known: OptunaTrials | None = None,
    is_known: Callable[[Assignment], bool] = lambda assignment: False,
) -> Suggestion | None:
    """The next assignment that is not known.

    It is a function of what the sweep has seen, how it is sampled and the number of the ask: sampler and study are
    built anew, so that nothing is remembered but the journal. Where what is drawn is known, the sampler draws again,
    some times, and then one is taken evenly from what is left.

    Parameters
    ----------
    sweep
        As it stands.
    space
        In numbers.
    sampling
        How it is sampled.
    known
        Optuna's trials of this sweep, as the last call left them; only time is lost without.
    is_known
        Whether the sweep has an assignment's configuration.

    Returns
    -------
    Suggestion or None
        None where there is no other.
    """
    sweep = sweep.by_configuration()
    number = len(sweep.trials)
    if sampling.kind == "grid":
        points = sampling.grid(space).points(sampling.seed, start=number)
        tried = islice(points, sampling.n_trials + len(sweep.priors) + DRAWS)
        return next((Suggestion(point, {}) for point in tried if not is_known(point)), None)
    storage = InMemoryStorage()
    seen = Sweep(sweep.header) if sampling.kind == "random" else sweep
    study = study_of(seen, space, new_sampler(sampling, space, number), storage, known)
    study_id = storage.get_study_id_from_name(study.study_name)
    before = storage.get_study_system_attrs(study_id)
    drawn = _drawn(study, space, is_known, DRAWS)
    assignment = _left(space, sampling, number, is_known) if drawn is None else drawn
    if assignment is None:
        return None
    if not sampling.remembers:
        return Suggestion(assignment, {})
    after = storage.get_study_system_attrs(study_id)
    news = {key: value for key, value in after.items() if before.get(key) != value}
    own = {"trial": study.get_trials(deepcopy=False)[-1].system_attrs} if drawn is not None else {}
    return Suggestion(assignment, {**own, "study": news})


def _drawn(
    study: optuna.Study, space: Space, is_known: Callable[[Assignment], bool], attempts: int
) -> Assignment | None:
    """What a study draws that is not known; what it drew before that is no trial of the study."""
    for _ in range(attempts):
        trial = study.ask()
        assignment = suggest_trial(trial, space)
        if not is_known(assignment):
            return assignment
        study.tell(trial, state=TrialState.FAIL)
    return None


def _left(space: Space, sampling: Sampling, number: int, is_known: Callable[[Assignment], bool]) -> Assignment | None:
    """An assignment that is not known, evenly from all there are; where they are too many, or there is no end of them,
    from many draws."""
    points = every_point(space, dict(sampling.default))
    if points is not None and points.n_points <= MOST_POINTS:
        left = points.assignments(points.n_points, sampling.seed)
        return next((point for point in left if not is_known(point)), None)
    return _drawn(optuna.create_study(sampler=even_sampler(sampling, number)), space, is_known, MOST_POINTS)


def study_of(
    sweep: Sweep,
    space: Space,
    sampler: optuna.samplers.BaseSampler,
    storage: BaseStorage | None = None,
    known: OptunaTrials | None = None,
) -> optuna.Study:
    """What Optuna is told: each trial of earlier sweeps and of this one, by how it ended.

    A configuration of several seeds is one trial, with their mean.

    Parameters
    ----------
    sweep
        As it stands.
    space
        What it searches.
    sampler
        The study's.
    storage
        The study's; by default in memory.
    known
        Optuna's trials of this sweep, as the last call left them.

    Returns
    -------
    optuna.Study
        COMPLETE with a result; PRUNED with values by epoch, or without values where the configuration gives no result;
        FAIL where nothing is known of it; RUNNING where it may go on.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sweep = sweep.by_configuration()
    storage = storage or InMemoryStorage()
    directions = [DIRECTIONS[direction] for direction in sweep.metrics.values()]
    study = optuna.create_study(storage=storage, directions=directions, sampler=sampler)
    study_id = storage.get_study_id_from_name(study.study_name)
    for trial in (known or OptunaTrials()).trials(sweep, space):
        storage.create_new_trial(study_id, template_trial=trial)
    memories = [trial.memory.get("study", {}) for trial in sweep.trials.values()]
    for key, value in {key: value for memory in memories for key, value in memory.items()}.items():
        storage.set_study_system_attr(study_id, key, value)
    return study


def _known(prior: EarlierTrial, space: Space, metrics: list[str]) -> FrozenTrial:
    return optuna.trial.create_trial(
        params=parameters(space, prior.assignment),
        distributions=distributions(space, prior.assignment),
        system_attrs=dict(FIRST_GENERATION),
        **(_result(prior.values, metrics) if prior.values else NO_RESULT),
    )


def _frozen(trial: Trial, space: Space, metrics: list[str]) -> FrozenTrial:
    return optuna.trial.create_trial(
        params=parameters(space, trial.assignment),
        distributions=distributions(space, trial.assignment),
        system_attrs=dict(trial.memory.get("trial", FIRST_GENERATION)),
        **_ending(trial, metrics),
    )


def _ending(trial: Trial, metrics: list[str]) -> dict[str, Any]:
    """State and values: COMPLETE with a result, PRUNED with the metric by epoch, PRUNED without values where the
    configuration gives no result, FAIL where nothing is known of it, RUNNING where it may still go on.

    TPE takes PRUNED trials by their last epochs, and those without values as worse than all others; it never hears of
    FAIL.
    """
    if trial.unfinished:
        return {"state": TrialState.RUNNING}
    if trial.failed:
        return NO_RESULT
    if trial.stop_reason == "completed":
        ranked = all(is_result(trial.ranked, metric) for metric in metrics)
        return _result(trial.ranked, metrics) if ranked else NO_RESULT
    values = _by_epoch(trial, metrics)
    if trial.stop_reason == "pruned" or (trial.stop_reason == "budget" and values):
        return {"state": TrialState.PRUNED, "intermediate_values": values}
    return {"state": TrialState.FAIL}


def _result(values: Mapping[str, float], metrics: list[str]) -> dict[str, Any]:
    return {"state": TrialState.COMPLETE, "values": [values[metric] for metric in metrics]}


def _by_epoch(trial: Trial, metrics: list[str]) -> dict[int, float]:
    """A pruned trial's metric at the epochs that may be compared, of which Optuna takes the last; none for several
    metrics, for which it has no such values."""
    if len(metrics) > 1:
        return {}
    (metric,) = metrics
    compared = {trial.phases.compared_epoch(report.epoch) for report in trial.reports}
    return {
        report.epoch: report.metrics[metric]
        for report in trial.reports
        if report.epoch in compared and metric in report.metrics
    }
