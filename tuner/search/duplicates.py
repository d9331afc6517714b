"""Which configurations a sweep has already: a trial is a function of its configuration, and is not trained again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from search_spaces.grid import every_point
from search_spaces.space import Space
from trainables.config.paths import parse_config
from trainables.errors import UserError
from trainables.resolve import identity
from tuner.sweeps.events import EarlierTrial
from tuner.sweeps.state import Sweep

Assignment = Mapping[str, Any]


class Known:
    """The configurations that a sweep has asked for or was told of, compared by what they train to.

    Two assignments may amount to one configuration, as `400 steps` and the fraction that has as many.

    resolved: an assignment as (configuration as plain data, method).
    """

    def __init__(self, resolved: Callable[[dict[str, Any]], tuple[dict[str, Any], str]]) -> None:
        self._resolved = resolved
        self._identities: dict[str, str] = {}
        self._of_trials: dict[str, str] = {}

    def test(self, sweep: Sweep) -> Callable[[Assignment], bool]:
        """What tells whether a sweep has an assignment's configuration.

        Parameters
        ----------
        sweep
            The same one each time, as it has gone on.

        Returns
        -------
        callable
            assignment → bool.
        """
        for trial in sweep.trials.values():
            if trial.id not in self._of_trials:
                self._of_trials[trial.id] = self._of(trial.assignment)
        known = {self._of(prior.assignment) for prior in sweep.priors} | {
            self._of_trials[trial] for trial in sweep.trials
        }
        return lambda assignment: self._of(assignment) in known

    def _of(self, assignment: Assignment) -> str:
        text = _text(assignment)
        if text not in self._identities:
            self._identities[text] = self._identity(assignment) or text
        return self._identities[text]

    def _identity(self, assignment: Assignment) -> str | None:
        """None of what cannot be trained."""
        try:
            config, _ = self._resolved(dict(assignment))
        except UserError:
            return None
        return identity(parse_config(config))


def n_combinations(space: Space) -> int | None:
    """How many assignments a space has.

    Parameters
    ----------
    space
        The space.

    Returns
    -------
    int or None
        None where there is no end of them.
    """
    points = every_point(space, space.default({})) if space.dimensions else None
    return None if points is None else points.n_points


def n_known(priors: Sequence[EarlierTrial]) -> int:
    """How many assignments earlier sweeps tell of.

    Parameters
    ----------
    priors
        Their trials.

    Returns
    -------
    int
        Each assignment once.
    """
    return len({_text(prior.assignment) for prior in priors})


def is_exhausted(sweep: Sweep, space: Space) -> bool:
    """Whether no configuration of the space is left that the sweep does not know.

    Parameters
    ----------
    sweep
        As it stands.
    space
        What it searches.

    Returns
    -------
    bool
        True also where a search found nothing new.
    """
    n_points = n_combinations(space)
    known = set(map(_text, _assignments(sweep)))
    return sweep.exhausted or (n_points is not None and len(known) >= n_points)


def all_known(space: Space) -> str:
    """Why nothing is left to try.

    Parameters
    ----------
    space
        What was searched.

    Returns
    -------
    str
        Part of a sentence.
    """
    n_points = n_combinations(space)
    if n_points is None:
        return "every configuration that was drawn has been tried"
    return f"all {n_points:,} combinations of the space have been tried"


def _assignments(sweep: Sweep) -> list[Assignment]:
    return [*(prior.assignment for prior in sweep.priors), *(trial.assignment for trial in sweep.trials.values())]


def _text(assignment: Assignment) -> str:
    return json.dumps(assignment, sort_keys=True)
