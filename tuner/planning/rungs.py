"""At which epochs the trials of a sweep are compared, and by which rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from search_spaces.reach import longest_warmup
from search_spaces.space import Space
from trainables.config import TrialConfig
from trainables.config.paths import unflatten
from trainables.data.dataset import DataFacts
from trainables.errors import ConfigError
from trainables.values import steps_per_epoch
from tuner.planning.metric_choice import scheduler_kind
from tuner.search.asha import Asha, grace_for, rungs_for
from tuner.search.hyperband import HyperBand
from tuner.search.median import MedianRule
from tuner.search.rules import Rule
from tuner.search.seed_groups import Together
from tuner.sweeps.spec import SweepSpec


def rungs_of(
    spec: SweepSpec, space: Space, base: Mapping[str, Any], default: TrialConfig, facts: DataFacts
) -> tuple[tuple[int, ...], list[str]]:
    """The epochs at which trials are compared, and what the user should know of them.

    Parameters
    ----------
    spec
        Of the sweep.
    space
        What it searches, in numbers.
    base
        The fixed part of every trial, by path.
    default
        The default configuration, resolved.
    facts
        Of the data.

    Returns
    -------
    tuple
        The rungs, none without a scheduler, and notes.

    Raises
    ------
    ConfigError
        The grace is beyond the budget.
    """
    epochs, grace = default.epochs, spec.scheduler.grace
    if grace != "auto" and grace > epochs:
        raise ConfigError(f"scheduler.grace: {grace} is beyond the {epochs} epochs of a trial; allowed: 1 to {epochs}")
    if scheduler_kind(spec) == "none":
        return (), []
    capped = False
    if grace == "auto":
        per_epoch = steps_per_epoch(facts.n_train, largest_batch(space, default))
        longest = longest_warmup(space, unflatten(base), epochs * per_epoch)
        grace, capped = grace_for(epochs, math.ceil(longest / per_epoch))
    found = [f"grace is capped at {grace} of {epochs} epochs: trials in longer warm-ups go on"] if capped else []
    rungs = rungs_for(epochs, grace, spec.scheduler.reduction_factor)
    if not rungs:
        found.append(f"a grace of {grace} leaves no comparison before the last of {epochs} epochs: nothing is pruned")
    return rungs[:1] if spec.scheduler.kind == "median" else rungs, found


def rule_of(spec: SweepSpec, rungs: tuple[int, ...], direction: str, epochs: int, n_seeds: int) -> Rule | None:
    """The pruning rule of a sweep.

    Parameters
    ----------
    spec
        Of the sweep.
    rungs
        As `rungs_of` gives them.
    direction
        `max` or `min`.
    epochs
        Of a trial that is not pruned.
    n_seeds
        Of a configuration, which go on together.

    Returns
    -------
    Rule or None
        None without rungs.
    """
    if not rungs:
        return None
    rule = _rule(spec, rungs, direction, epochs)
    if n_seeds == 1:
        return rule
    waits = {"hyperband": (), "median": rungs_for(epochs, rungs[0], spec.scheduler.reduction_factor)}
    return Together(rule, waits.get(spec.scheduler.kind, rungs), n_seeds)


def _rule(spec: SweepSpec, rungs: tuple[int, ...], direction: str, epochs: int) -> Rule:
    """As if each configuration had one seed."""
    factor = spec.scheduler.reduction_factor
    match spec.scheduler.kind:
        case "hyperband":
            return HyperBand(rungs, factor, direction, epochs, spec.search.trials)
        case "median":
            return MedianRule(rungs[0], direction)
        case _:
            return Asha(rungs, factor, direction)


def largest_batch(space: Space, default: TrialConfig) -> int:
    """The largest batch that the space can draw, at which an epoch has the fewest steps.

    Parameters
    ----------
    space
        What is searched.
    default
        The default configuration, whose batch it is where the space has none.

    Returns
    -------
    int
        A number of examples.
    """
    domain = space.dimensions.get("batch_size")
    return int(max(domain.levels())) if domain else default.batch_size
