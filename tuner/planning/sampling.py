"""How a space is sampled, and how many trials that leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from search_spaces.space import Space
from tuner.search.duplicates import n_combinations, n_known
from tuner.search.samplers import Sampling, trials_to_run
from tuner.sweeps.events import EarlierTrial
from tuner.sweeps.spec import Search, SweepSpec


def sampling_of(
    search: Search, space: Space, first: Mapping[str, Any], concurrency: int, priors: Sequence[EarlierTrial], seeds: int
) -> tuple[Sampling, list[str]]:
    """How a sweep samples its space, with no more configurations than there are combinations.

    Parameters
    ----------
    search
        As the spec has it.
    space
        In numbers.
    first
        The assignment that is tried first.
    concurrency
        Trials at once.
    priors
        Trials of earlier sweeps.
    seeds
        Of each configuration.

    Returns
    -------
    tuple of Sampling and list of str
        And notes on how many combinations there are.
    """
    kind, n_trials = ("random", len(search.points)) if search.points else (search.sampler, search.trials)
    found = Sampling(kind, search.seed, n_trials, concurrency > 1, first, seeds=seeds)
    n_points = n_combinations(space)
    if n_points is None or kind == "grid":
        return found, []
    known = n_known(priors)
    most = max(1, n_points - known)
    told = f", {known} of them known from earlier sweeps" if known else ""
    note = f"{n_points:,} combinations{told}" + (f": at most {most} {found.unit}" if most <= n_trials else "")
    return replace(found, trials=min(n_trials, most)), [note]


def with_trials(spec: SweepSpec, sampling: Sampling, space: Space) -> SweepSpec:
    """A spec with the trials and the sampler that come of its sampling.

    Parameters
    ----------
    spec
        Of the sweep.
    sampling
        How its space is sampled.
    space
        In numbers.

    Returns
    -------
    SweepSpec
        With as many trials as can be run.
    """
    update = {"trials": trials_to_run(sampling, space), "sampler": sampling.kind}
    return spec.model_copy(update={"search": spec.search.model_copy(update=update)})
