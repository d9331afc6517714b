"""What an earlier sweep can tell a new one: its trials with a result, or without one by themselves, that the new one
could have run itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from search_spaces.space import Space
from trainables.config import DataConfig, TrialConfig
from trainables.config.paths import flatten, parse_config, plain, suggest
from trainables.errors import ConfigError
from trainables.identity import Identity, differences, version_notes
from trainables.ranking import BEST, Ranking
from tuner.sweeps.events import EarlierTrial, Line
from tuner.sweeps.journal import check_begun
from tuner.sweeps.metrics import is_result
from tuner.sweeps.spec import SweepSpec, unit_of_trials
from tuner.sweeps.state import Sweep, Trial, fold
from tuner.sweeps.storage import open_storage

# What a trial's value does not depend on, or only as its noise does.
FREE = ("seed", "device", "threads", "metrics.every")
# What `auto` measures on the data: it is another on other data, where these are allowed.
MEASURED = ("model.sigma", "objective.kappa")

Resolved = Callable[[Mapping[str, Any]], TrialConfig]


@dataclass(frozen=True)
class Known:
    """What the new sweep trains on and with. allow_changed: whether it learns from others' data and code too."""

    data: DataConfig
    identity: Identity
    allow_changed: bool = False


@dataclass(frozen=True)
class WarmStart:
    """What is taken over from a sweep. skipped: how many of its trials are not, by reason. changed: in what its data
    and code were others. notes: on its versions. unit: what is counted."""

    name: str
    priors: tuple[EarlierTrial, ...]
    skipped: Mapping[str, int]
    changed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unit: str = "trials"

    def __str__(self) -> str:
        total = len(self.priors) + sum(self.skipped.values())
        failed = sum(not prior.values for prior in self.priors)
        counts = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items())
        used = f"warm start: {len(self.priors)} of {total} {self.unit} of {self.name} used"
        parts = [
            used + (f", of which {failed} failed" if failed else ""),
            *([f"skipped: {counts}"] if counts else []),
            *self.changed,
            *self.notes,
        ]
        return "; ".join(parts)


def warm_starts(
    spec: SweepSpec, space: Space, metrics: tuple[str, ...], ranking: Ranking, resolved: Resolved, here: Known
) -> list[WarmStart]:
    """Read the sweeps that `search.warm_start` names; nothing of them is executed.

    A trial is used if it has completed with all metrics, diverged, or raised, lies inside the space, and would run with
    the same configuration here, but for what FREE names; how much memory it found says nothing of this machine.

    Parameters
    ----------
    spec
        Of the sweep.
    space
        Of the new sweep, in numbers.
    metrics
        That it searches by.
    ranking
        Of the new sweep, by which their trials count too, whatever they were ranked by.
    resolved
        The configuration that a trial of the new sweep runs with, by assignment.
    here
        What the new sweep trains on and with.

    Returns
    -------
    list of WarmStart
        In the order of the names, each once.

    Raises
    ------
    ConfigError
        A name is no sweep of the storage, or it ran on other data or code and that is not allowed.
    JournalError
        A journal is damaged.
    """
    names = list(dict.fromkeys(spec.search.warm_start))
    for name in names:
        _check_name(name, spec)
    storage = open_storage(spec.storage)
    return [_warm_start(name, storage.lines(name), space, metrics, ranking, resolved, here) for name in names]


def _check_name(name: str, spec: SweepSpec) -> None:
    storage = open_storage(spec.storage)
    known = storage.names()
    if name == spec.name:
        raise ConfigError(f"search.warm_start: {name} is this sweep itself; name an earlier one")
    if "/" in name:
        raise ConfigError(
            f"search.warm_start: {name} is a path; give the name of a sweep in {storage}, or that sweep's --storage"
        )
    if name not in known:
        found = suggest(name, known) if known else "; there is none yet"
        raise ConfigError(f"search.warm_start: no sweep {name!r} in {storage}{found}")


def _warm_start(
    name: str,
    lines: list[Line],
    space: Space,
    metrics: tuple[str, ...],
    ranking: Ranking,
    resolved: Resolved,
    here: Known,
) -> WarmStart:
    sweep = fold(lines, f"search.warm_start: the journal of sweep {name}")
    if sweep.header:
        check_begun(sweep)
    trials = [trial.by(ranking) for trial in sweep.configurations.values()]
    changed = _changed(name, sweep, here)
    if changed and not here.allow_changed:
        raise ConfigError(
            f"search.warm_start: {'; '.join(changed)}; leave {name} out, or learn from it anyway with --allow-changed"
        )
    free = {*FREE, *(MEASURED if changed else ()), *(() if "val/nll" in metrics else ("metrics.nll_samples",))}
    found = [_prior_or_reason(name, trial, space, metrics, resolved, free) for trial in trials]
    reasons = Counter(reason for reason in found if isinstance(reason, str))
    return WarmStart(
        name,
        tuple(prior for prior in found if isinstance(prior, EarlierTrial)),
        dict(reasons.most_common()),
        changed,
        tuple(version_notes(here.identity, sweep.identity)),
        unit_of_trials(sweep.repeats),
    )


def _changed(name: str, sweep: Sweep, here: Known) -> tuple[str, ...]:
    """What data or code a sweep's trials on the data set of this name had that is not the same here."""
    trials = [trial for trial in sweep.trials.values() if _is_on(trial, here.data)]
    found = [differences(here.identity, trial.identity, here.data.name, f"of sweep {name}") for trial in trials]
    return tuple(dict.fromkeys(text for texts in found for text in texts))


def _is_on(trial: Trial, data: DataConfig) -> bool:
    theirs = trial.config["data"]
    return (theirs["name"], theirs.get("image_size")) == (data.name, data.image_size)


def _prior_or_reason(
    name: str, trial: Trial, space: Space, metrics: tuple[str, ...], resolved: Resolved, free: Set[str]
) -> EarlierTrial | str:
    values = values_or_reason(trial, metrics)
    if isinstance(values, str):
        return values
    theirs = flatten(plain(parse_config(trial.config)))
    known = {**theirs, **trial.assignment}
    assignment = space.walk(lambda path, domain, chosen: domain.drawn(known.get(path)))
    for path, value in assignment.items():
        if path not in known or not space.dimensions[path].contains(value):
            return f"outside {path}"
    different = _first_difference(theirs, flatten(plain(resolved(assignment))), free)
    return f"differ in {different}" if different else EarlierTrial(name, trial.id, assignment, values)


def values_or_reason(trial: Trial, metrics: tuple[str, ...]) -> dict[str, float] | str:
    """What a trial tells a new sweep.

    Parameters
    ----------
    trial
        Of the earlier sweep.
    metrics
        That the new one searches by.

    Returns
    -------
    dict of str to float, or str
        Its values, none of one that would fail here too; or why it says nothing.
    """
    if trial.stop_reason == "diverged" or (trial.failed and trial.kind == "raised"):
        return {}
    early = trial.epochs < trial.config["epochs"] and trial.ranking.kind != BEST
    if trial.stop_reason != "completed" or early:
        return "not completed"
    without = next((metric for metric in metrics if not is_result(trial.ranked, metric)), None)
    return f"without {without}" if without else {metric: trial.ranked[metric] for metric in metrics}


def _first_difference(theirs: Mapping[str, Any], ours: Mapping[str, Any], free: Set[str]) -> str | None:
    if all(config["batch_size"] == config["lr.base_batch_size"] for config in (theirs, ours)):
        free = {*free, "lr.scaling"}  # which has nothing to scale
    paths = [path for path in {**ours, **theirs} if path not in free]
    return next((path for path in paths if not _same(theirs.get(path), ours.get(path))), None)


def _same(one: Any, other: Any) -> bool:
    """Equal, but for the last digits of numbers that are measured on the data (κ_max, σ)."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    return bool(one == other)
