"""Optuna behind Tune's searcher interface, fed from the journal alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, Self

import optuna
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from search_spaces.compile import distributions, parameters, suggest_trial
from search_spaces.grid import every_point
from search_spaces.space import Space, assemble, defaults_of
from trainables.config import method_of
from trainables.config.paths import flatten, parse_config, unflatten
from trainables.errors import UserError
from trainables.ranking import BEST
from tuner.search.known import Known
from tuner.search.samplers import FIRST_GENERATION, Sampling, even_sampler, new_sampler, trials_to_run
from tuner.sweeps.journal import Journal
from tuner.sweeps.metrics import is_result
from tuner.sweeps.state import REFUSED, Event, Prior, Sweep, Trial, trial_id

__all__ = ["Asked", "JournalSearcher", "Told", "ask", "study_of"]

NO_RESULT = {"state": TrialState.PRUNED}

DRAWS = 30
"""How often a sampler draws again what is known, before another finds what is left."""
MOST_POINTS = 1000
"""How many points are looked through for what is left."""

AGAIN: dict[str, Any] = {}
"""No suggestion yet: what was asked for has ended already."""

DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}

Assignment = dict[str, Any]


class Asked(NamedTuple):
    """An assignment, and the sampler's memory of it: attributes that go back into the study and its trial."""

    assignment: Assignment
    memory: dict[str, dict[str, Any]]


class Told:
    """What Optuna is told of trials, which each ask of a sweep finds as the one before has left it.

    A trial is made when it is first told of, and once more when it has ended; nothing else about it changes.
    """

    def __init__(self) -> None:
        self._priors: list[FrozenTrial] = []
        self._trials: dict[str, FrozenTrial] = {}

    def trials(self, sweep: Sweep, space: Space) -> list[FrozenTrial]:
        """Those of earlier sweeps, then the sweep's own in the order they were asked for."""
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


def ask(
    sweep: Sweep,
    space: Space,
    sampling: Sampling,
    told: Told | None = None,
    is_known: Callable[[Assignment], bool] = lambda assignment: False,
) -> Asked | None:
    """The next assignment that is not known: a function of what the sweep has seen, how it is sampled and the number of
    the ask. None where there is no other.

    Sampler and study are built anew, so that nothing is remembered but the journal. Where what is drawn is known, the
    sampler draws again, some times, and then one is taken evenly from what is left. told: of this sweep's earlier asks,
    from which the study takes its trials.
    """
    sweep = sweep.by_configuration()
    number = len(sweep.trials)
    if sampling.kind == "grid":
        points = sampling.grid(space).points(sampling.seed, start=number)
        tried = islice(points, sampling.n_trials + len(sweep.priors) + DRAWS)
        return next((Asked(point, {}) for point in tried if not is_known(point)), None)
    storage = InMemoryStorage()
    seen = Sweep(sweep.header) if sampling.kind == "random" else sweep
    study = study_of(seen, space, new_sampler(sampling, space, number), storage, told)
    study_id = storage.get_study_id_from_name(study.study_name)
    before = storage.get_study_system_attrs(study_id)
    drawn = _drawn(study, space, is_known, DRAWS)
    assignment = _left(space, sampling, number, is_known) if drawn is None else drawn
    if assignment is None:
        return None
    if not sampling.remembers:
        return Asked(assignment, {})
    after = storage.get_study_system_attrs(study_id)
    news = {key: value for key, value in after.items() if before.get(key) != value}
    own = {"trial": study.get_trials(deepcopy=False)[-1].system_attrs} if drawn is not None else {}
    return Asked(assignment, {**own, "study": news})


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
    told: Told | None = None,
) -> optuna.Study:
    """What Optuna is told: each trial of earlier sweeps and of this one by how it ended, as `_ending` has it. A
    configuration of several seeds is one trial, with their mean."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sweep = sweep.by_configuration()
    storage = storage or InMemoryStorage()
    directions = [DIRECTIONS[direction] for direction in sweep.metrics.values()]
    study = optuna.create_study(storage=storage, directions=directions, sampler=sampler)
    study_id = storage.get_study_id_from_name(study.study_name)
    for trial in (told or Told()).trials(sweep, space):
        storage.create_new_trial(study_id, template_trial=trial)
    memories = [trial.memory.get("study", {}) for trial in sweep.trials.values()]
    for key, value in {key: value for memory in memories for key, value in memory.items()}.items():
        storage.set_study_system_attr(study_id, key, value)
    return study


def _known(prior: Prior, space: Space, metrics: list[str]) -> FrozenTrial:
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


class JournalSearcher(Searcher):  # type: ignore[misc]
    """Hands out unfinished trials of the journal first, and of those the ones that ran when the last driver died, then
    new ones up to `n_trials`, then those that ran out of memory and shall run alone, for which others would never leave
    enough room before, then no more.

    The first is the space's default configuration, unless an earlier sweep has told of exactly that. None is asked for
    that is known, but for points that are given; where no other is left, the sweep ends with the trials it has. A trial
    whose configuration is refused after all ends as an error before it has begun. Results reach the study through the
    journal, never through Tune.

    n_trials, more: planned when the sweep began, which decides how is sampled, and added since. points: the trials,
    where they are given and not drawn. seeds: of each configuration, where there are several. concurrency: how many
    run at once; a function where that changes.
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
        more: int = 0,
        points: Sequence[Assignment] = (),
        seeds: Sequence[int] = (),
        concurrency: int | Callable[[], int],
        on_event: Callable[[Event], None],
        settle: Callable[[], None] = lambda: None,
        is_spent: Callable[[int], bool] = lambda unwritten: False,
    ) -> None:
        super().__init__()
        self._journal, self._space, self._base, self._resolved = journal, space, base, resolved
        self._at_once = concurrency if callable(concurrency) else lambda: concurrency
        concurrent = callable(concurrency) or concurrency > 1
        self._sampling = Sampling(sampler, seed, n_trials, concurrent, space.default(base), more)
        self._n_trials = trials_to_run(self._sampling, space)
        self._on_event, self._settle, self._is_spent = on_event, settle, is_spent
        self._points, self._seeds, self._repeats = points, seeds, max(1, len(seeds))
        self._known = Known(resolved)
        self._told = Told()
        self._handed: set[tuple[str, int, int]] = set()

    def suggest(self, trial_id: str) -> Mapping[str, Any] | str | None:
        while (given := self._suggestion()) is AGAIN:
            pass
        return given

    def _suggestion(self) -> Mapping[str, Any] | str | None:
        if self._journal.sweep.spent:
            return str(Searcher.FINISHED)
        self._settle()
        unfinished = [trial for trial in self._journal.sweep.trials.values() if trial.unfinished]
        waiting = [trial for trial in unfinished if not trial.paused and _turn(trial) not in self._handed]
        waiting.sort(key=lambda trial: not trial.in_step)
        first = [trial for trial in waiting if not trial.alone]
        all_asked = self._all_asked()
        if all_asked and not unfinished:
            return str(Searcher.FINISHED)
        if len(self.running()) >= self._at_once() or (all_asked and not waiting):
            return None
        if self._is_spent(0):
            self._on_event(self._journal.append("budget"))
            return str(Searcher.FINISHED)
        trial = (first or waiting)[0] if first or all_asked else self._new_trial()
        if trial is None:
            self._on_event(self._journal.append("exhausted"))
        if trial is None or not trial.unfinished:
            return AGAIN
        self._handed.add(_turn(trial))
        given = {"trial": trial.id, "config": json.dumps(trial.config), "epochs_done": trial.epochs}
        best = trial.best if trial.ranking.kind == BEST else None
        return {**given, "alone": trial.alone, "best": json.dumps(best)}

    def running(self) -> list[Trial]:
        """The trials that were handed out and have neither ended, paused nor failed since."""
        active = [trial for trial in self._journal.sweep.trials.values() if trial.unfinished and not trial.paused]
        return [trial for trial in active if _turn(trial) in self._handed]

    def _all_asked(self) -> bool:
        sweep = self._journal.sweep
        return (sweep.exhausted or len(sweep.configurations) >= self._n_trials) and self._lacking() is None

    def _lacking(self) -> Trial | None:
        """The latest configuration, while not all of its seeds were asked for and none has ended it."""
        last = next(reversed(self._journal.sweep.configurations.values()), None)
        return last if last and last.unfinished and 0 < len(last.runs) < self._repeats else None

    def _new_trial(self) -> Trial | None:
        """The next seed of the latest configuration, or the first of a new one; None where all are known."""
        if begun := self._lacking():
            return self._written(begun.number, len(begun.runs), Asked(begun.assignment, {}), begun.config, begun.method)
        number = len(self._journal.sweep.configurations)
        asked = self._given(number) or self._next()
        if asked is None:
            return None
        config, method, refusal = self._configured(asked.assignment)
        trial = self._written(number, 0, asked, config, method)
        if refusal is not None:
            self._on_event(self._journal.append("end", trial=trial.id, reason="error", error=refusal, kind=REFUSED))
        return self._journal.sweep.trials[trial.id]

    def _written(self, number: int, repeat: int, asked: Asked, config: Mapping[str, Any], method: str) -> Trial:
        trial, which = trial_id(number, repeat, self._repeats), {}
        if self._repeats > 1:
            config, which = {**config, "seed": self._seeds[repeat]}, {"repeat": repeat}
        fields = {**which, **asked._asdict(), "config": config, "method": method}
        self._on_event(self._journal.append("ask", trial=trial, number=number, **fields))
        return self._journal.sweep.trials[trial]

    def _configured(self, assignment: Assignment) -> tuple[dict[str, Any], str, str | None]:
        """An assignment's configuration and method, and why it is refused; then as far as it is known."""
        try:
            return *self._resolved(assignment), None
        except UserError as error:
            drawn = flatten(assemble(self._base, self._space, assignment))
            defaults = defaults_of(drawn)
            return unflatten({**defaults, **drawn}), method_of(parse_config(unflatten(defaults))), str(error)

    def _given(self, number: int) -> Asked | None:
        return Asked(dict(self._points[number]), {}) if self._points else None

    def _next(self) -> Asked | None:
        """The default configuration, while nothing is known of it, then what the sampler asks for."""
        sweep, default = self._journal.sweep, dict(self._sampling.default)
        is_known = self._known.test(sweep)
        if not sweep.trials and not is_known(default):
            return Asked(default, {})
        return ask(sweep, self._space, self._sampling, self._told, is_known)

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        """The journal has it already."""

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """The journal has it already."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its searcher for a restore that is never asked for."""
        return object, ()


def _turn(trial: Trial) -> tuple[str, int, int]:
    """What one hand-out of a trial is known by: it is handed out anew after a pause and after a failure."""
    return trial.id, trial.pauses, trial.lost
