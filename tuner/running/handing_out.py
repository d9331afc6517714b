"""Which trial is handed out next, fed from the journal alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from search_spaces.space import Space, assemble, defaults_of
from trainables.config import method_of
from trainables.config.paths import flatten, parse_config, unflatten
from trainables.errors import UserError
from trainables.ranking import BEST
from tuner.search.duplicates import Known
from tuner.search.optuna_study import Assignment, OptunaTrials, Suggestion, suggest
from tuner.search.samplers import Sampling, trials_to_run
from tuner.sweeps.events import Asked, BudgetSpent, Ended, Exhausted
from tuner.sweeps.journal import Journal
from tuner.sweeps.state import REFUSED, Trial, trial_id

HasPlace = Callable[[int | None], bool]

AGAIN: dict[str, Any] = {}
"""None yet: what was asked for has ended already."""
FINISHED: Final = "FINISHED"
"""None any more; the word is Tune's."""


class HandingOut:
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
    resolved: an assignment as (configuration as plain data, method).
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
        settle: Callable[[], None] = lambda: None,
        is_spent: Callable[[int], bool] = lambda unwritten: False,
    ) -> None:
        self._journal, self._space, self._base, self._resolved = journal, space, base, resolved
        self._at_once = concurrency if callable(concurrency) else lambda: concurrency
        concurrent = callable(concurrency) or concurrency > 1
        self._sampling = Sampling(sampler, seed, n_trials, concurrent, space.default(base), more)
        self._n_trials = trials_to_run(self._sampling, space)
        self._settle, self._is_spent = settle, is_spent
        self._points, self._seeds, self._repeats = points, seeds, max(1, len(seeds))
        self._known = Known(resolved)
        self._optuna_trials = OptunaTrials()
        self._handed: set[tuple[str, int, int]] = set()

    def next_trial(self, has_place: HasPlace = lambda width: True) -> Mapping[str, Any] | str | None:
        """What the worker of the next trial is given, None while there is none, or FINISHED.

        has_place: whether a lane takes a trial with which it may consist of so many, None for any number. Of those that
        wait, the first that finds a place is handed out; one that is to run alone has a place of its own.
        """
        while (given := self._next_or_again(has_place)) is AGAIN:
            pass
        return given

    def _next_or_again(self, has_place: HasPlace) -> Mapping[str, Any] | str | None:
        if self._journal.sweep.spent:
            return FINISHED
        self._settle()
        unfinished = [trial for trial in self._journal.sweep.trials.values() if trial.unfinished]
        waiting = [trial for trial in unfinished if not trial.paused and _attempt(trial) not in self._handed]
        waiting.sort(key=lambda trial: not trial.in_step)
        sharing = [trial for trial in waiting if not trial.alone]
        ready = next((trial for trial in sharing if has_place(trial.width)), None)
        all_asked = self._all_asked()
        if all_asked and not unfinished:
            return FINISHED
        if all_asked and not sharing:
            ready = next(iter(waiting), None)
        may_ask = not all_asked and has_place(None)
        if len(self.running()) >= self._at_once() or not (ready or may_ask):
            return None
        if self._is_spent(0):
            self._journal.append(BudgetSpent())
            return FINISHED
        trial = ready or self._new_trial()
        if trial is None:
            self._journal.append(Exhausted())
        if trial is None or not trial.unfinished:
            return AGAIN
        self._handed.add(_attempt(trial))
        given = {"trial": trial.id, "config": json.dumps(trial.config), "epochs_done": trial.epochs}
        best = trial.best if trial.ranking.kind == BEST else None
        return {**given, "alone": trial.alone, "best": json.dumps(best)}

    def take_back(self, trial: str) -> None:
        """It was handed out, and has not begun."""
        self._handed.discard(_attempt(self._journal.sweep.trials[trial]))

    @property
    def to_come(self) -> int:
        """How many trials may yet be handed out, but for those that run alone: none is more than that."""
        sweep = self._journal.sweep
        if sweep.spent:
            return 0
        known = [trial for trial in sweep.trials.values() if trial.unfinished and not trial.alone]
        waiting = sum(trial.paused or _attempt(trial) not in self._handed for trial in known)
        more = 0 if sweep.exhausted else max(0, self._n_trials - len(sweep.configurations))
        begun = self._lacking()
        return waiting + more * self._repeats + (self._repeats - len(begun.runs) if begun else 0)

    def running(self) -> list[Trial]:
        """The trials that were handed out and have neither ended, paused nor failed since."""
        active = [trial for trial in self._journal.sweep.trials.values() if trial.unfinished and not trial.paused]
        return [trial for trial in active if _attempt(trial) in self._handed]

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
            return self._written(
                begun.number, len(begun.runs), Suggestion(begun.assignment, {}), begun.config, begun.method
            )
        number = len(self._journal.sweep.configurations)
        suggestion = self._given(number) or self._next()
        if suggestion is None:
            return None
        config, method, refusal = self._configured(suggestion.assignment)
        trial = self._written(number, 0, suggestion, config, method)
        if refusal is not None:
            self._journal.append(Ended(trial.id, "error", refusal, REFUSED))
        return self._journal.sweep.trials[trial.id]

    def _written(
        self, number: int, repeat: int, suggestion: Suggestion, config: Mapping[str, Any], method: str
    ) -> Trial:
        trial, which = trial_id(number, repeat, self._repeats), None
        if self._repeats > 1:
            config, which = {**config, "seed": self._seeds[repeat]}, repeat
        self._journal.append(
            Asked(trial=trial, number=number, repeat=which, **suggestion._asdict(), config=dict(config), method=method)
        )
        return self._journal.sweep.trials[trial]

    def _configured(self, assignment: Assignment) -> tuple[dict[str, Any], str, str | None]:
        """An assignment's configuration and method, and why it is refused; then as far as it is known."""
        try:
            return *self._resolved(assignment), None
        except UserError as error:
            drawn = flatten(assemble(self._base, self._space, assignment))
            defaults = defaults_of(drawn)
            return unflatten({**defaults, **drawn}), method_of(parse_config(unflatten(defaults))), str(error)

    def _given(self, number: int) -> Suggestion | None:
        return Suggestion(dict(self._points[number]), {}) if self._points else None

    def _next(self) -> Suggestion | None:
        """The default configuration, while nothing is known of it, then what the sampler asks for."""
        sweep, default = self._journal.sweep, dict(self._sampling.default)
        is_known = self._known.test(sweep)
        if not sweep.trials and not is_known(default):
            return Suggestion(default, {})
        return suggest(sweep, self._space, self._sampling, self._optuna_trials, is_known)


def _attempt(trial: Trial) -> tuple[str, int, int]:
    """What one hand-out of a trial is known by: it is handed out anew after a pause and after a failure."""
    return trial.id, trial.pauses, trial.lost
