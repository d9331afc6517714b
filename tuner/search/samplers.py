"""Samplers by name, rebuilt for every ask; what one must find again then is its memory, which the journal carries."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from search_spaces.compile import distributions
from search_spaces.domains import Choice
from search_spaces.grid import Grid, finest_grid
from search_spaces.space import Space
from tuner.sweeps.spec import unit_of_trials

LEARNING = ("tpe", "nsga2")
REMEMBERING = ("qmc", "nsga2")

# NSGA-II counts as its own only trials that carry a generation; its first holds what it did not ask for itself.
FIRST_GENERATION = {"NSGAIISampler:generation": 0}


@dataclass(frozen=True)
class Sampling:
    """How a space is sampled. trials: planned at first, by which populations and grids are sized; more: added since.

    default: the assignment that goes first. seeds: of each configuration, of which `trials` counts each once.
    """

    kind: str
    seed: int
    trials: int
    concurrent: bool
    default: Mapping[str, Any]
    more: int = 0
    seeds: int = 1

    @property
    def n_trials(self) -> int:
        """Planned in all."""
        return self.trials + self.more

    @property
    def unit(self) -> str:
        """What `trials` counts."""
        return unit_of_trials(self.seeds)

    @property
    def remembers(self) -> bool:
        """Whether the sampler keeps attributes in the study and its trials that its next ask depends on."""
        return self.kind in REMEMBERING

    def grid(self, space: Space) -> Grid:
        """The grid that its trials walk through.

        Parameters
        ----------
        space
            In numbers.

        Returns
        -------
        Grid
            Of no more points than trials, where that can be.
        """
        return finest_grid(space, dict(self.default), self.trials)


def new_sampler(sampling: Sampling, space: Space, number: int) -> BaseSampler:
    """The sampler of an ask.

    Parameters
    ----------
    sampling
        How the space is sampled; not a grid, which has no sampler.
    space
        In numbers.
    number
        Of the ask, from 0.

    Returns
    -------
    BaseSampler
        Optuna's, with a seed of its own.
    """
    return SAMPLERS[sampling.kind](sampling, space, _seed_of(sampling.seed, number))


def even_sampler(sampling: Sampling, number: int) -> BaseSampler:
    """What draws evenly where the sampler of an ask finds nothing new.

    Parameters
    ----------
    sampling
        How the space is sampled.
    number
        Of the ask, from 0.

    Returns
    -------
    BaseSampler
        Random.
    """
    return RandomSampler(seed=_seed_of(sampling.seed, number))


def _seed_of(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=4).digest(), "little")


def _population_size(trials: int) -> int:
    """A generation: a fifth of the trials, so that five follow each other, from 4 to Optuna's own 50."""
    return min(50, max(4, trials // 5))


class _Tpe(TPESampler):
    """TPE (Bergstra et al. 2011) that never takes a trial without values for a good one.

    Good are the best tenth of all that it is told of, as in Optuna, which fills them up with trials without values
    where fewer have some: where nearly all fail, TPE would stay beside the first that did.
    """

    def __init__(self, seed: int, concurrent: bool) -> None:
        self._most_good = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(seed=seed, multivariate=True, group=True, constant_liar=concurrent)
        self._gamma = self._number_of_good  # the argument is deprecated, and nothing stands for it

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        super().before_trial(study, trial)
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        valued = sum(told.values is not None or bool(told.intermediate_values) for told in ended)
        self._most_good = valued if len(study.directions) > 1 else min(valued, 25)

    def _number_of_good(self, n: int) -> int:
        return min(math.ceil(0.1 * n), self._most_good)


class _Qmc(QMCSampler):
    """A scrambled Sobol sequence (Owen 1998) over the dimensions that every trial draws; the others are random.

    Optuna takes the dimensions of the first trial that ended well, so that the sequence would depend on which that was.
    """

    def __init__(self, space: Space, seed: int, independent: BaseSampler) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(scramble=True, seed=seed, independent_sampler=independent, warn_independent_sampling=False)
        self._space = space

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return distributions(self._space, {})


SAMPLERS: dict[str, Callable[[Sampling, Space, int], BaseSampler]] = {
    "tpe": lambda sampling, space, seed: _Tpe(seed, concurrent=sampling.concurrent),
    "random": lambda sampling, space, seed: RandomSampler(seed=seed),
    "qmc": lambda sampling, space, seed: _Qmc(space, sampling.seed, RandomSampler(seed=seed)),
    "nsga2": lambda sampling, space, seed: NSGAIISampler(population_size=_population_size(sampling.trials), seed=seed),
}
"""By kind, how the sampler of an ask is made, from the seed of that ask."""


# --- what a user is told ----------------------------------------------------------------------------------------------


def trials_to_run(sampling: Sampling, space: Space) -> int:
    """The number of trials to run.

    Parameters
    ----------
    sampling
        How the space is sampled.
    space
        In numbers.

    Returns
    -------
    int
        No more than a grid has points.
    """
    return min(sampling.n_trials, sampling.grid(space).n_points) if sampling.kind == "grid" else sampling.n_trials


def sampler_notes(sampling: Sampling, space: Space, *, warm: bool, pruned_by: str | None) -> list[str]:
    """What a sampler does with a space that one might not expect.

    Parameters
    ----------
    sampling
        How the space is sampled.
    space
        In numbers.
    warm
        Whether it is told of earlier trials.
    pruned_by
        The scheduler's kind; None where nothing is pruned.

    Returns
    -------
    list of str
        Sentences; often none.
    """
    found = []
    common = space.active({})
    conditional = [path for path in space.dimensions if path not in common]
    if sampling.kind == "grid":
        found.append(_grid_note(sampling, space))
    if sampling.kind == "nsga2":
        found.append(_nsga2_note(sampling, pruned_by))
    if sampling.kind == "qmc":
        found.append("qmc does not learn from trials: its points depend on the seed alone")
    if sampling.remembers and conditional:
        covers = "evolves" if sampling.kind == "nsga2" else "spreads evenly over"
        found.append(
            f"{sampling.kind} {covers} {_listed(common)}; dimensions under a condition are drawn at random: "
            f"{_listed(conditional)}"
        )
    if warm and sampling.kind not in LEARNING:
        found.append(f"{sampling.kind} does not learn from a warm start; use {' or '.join(LEARNING)}")
    return found


def _nsga2_note(sampling: Sampling, pruned_by: str | None) -> str:
    size = _population_size(sampling.trials)
    found = (
        f"nsga2 learns from completed {sampling.unit} alone, {size} a generation, the first at random; it "
        "ignores pruned and failed ones"
    )
    return found + (f": under {pruned_by} it may stay random search; use tpe, or --scheduler none" if pruned_by else "")


def _grid_note(sampling: Sampling, space: Space) -> str:
    grid = sampling.grid(space)
    ranges = [f"{path} {len(grid.values[path])}" for path, d in space.dimensions.items() if not isinstance(d, Choice)]
    levels = f" (levels: {', '.join(ranges)})" if ranges else ""
    if grid.n_points > sampling.trials:
        return (
            f"grid: {sampling.trials} of {grid.n_points} points{levels}, drawn by the seed; for all of them use "
            f"--trials {grid.n_points}"
        )
    points = f"{grid.n_points} points"
    if sampling.seeds > 1:
        points = f"{grid.n_points} configurations × {sampling.seeds} seeds = {grid.n_points * sampling.seeds} points"
    return f"grid: {points}{levels}, for {sampling.trials} {sampling.unit} at most"


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(paths) or "nothing"
