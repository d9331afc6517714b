"""What a plan says of its data, its models, its schedules and the updates that trials get."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from search_spaces.space import Space, assemble
from trainables.config import DataConfig, TrialConfig
from trainables.config.objectives import Geco
from trainables.config.paths import parse_config, unflatten
from trainables.data.dataset import DataFacts
from trainables.data.readers import DATASETS
from trainables.data.readers.fetched import file_name
from trainables.models.inspection import check_user_model
from trainables.objectives import geco_notes, updates_to_settle
from trainables.phases import phases_of
from trainables.schedules.lr import SCALING_NAMES, scaling_factor, scaling_of
from tuner.planning.rungs import largest_batch

SMALL = 0.03  # at .0135 the digits take more than 1,480 updates to be as good as their mean image
RATES = ("lr.kind", "lr.base", "lr.max")
SCALED_BY = ("batch_size", "lr.base_batch_size", "lr.scaling")


def describe_data(config: TrialConfig, facts: DataFacts) -> list[str]:
    """What a plan says of its data: sizes, likelihood, κ_max, and what may surprise.

    Parameters
    ----------
    config
        The default configuration, resolved.
    facts
        Of the data.

    Returns
    -------
    list of str
        Sentences; the first is always there.
    """
    limits = ", ".join(f"{name} {value:.4g}" for name, value in facts.kappa_max.items())
    shape = "×".join(map(str, facts.shape))
    found = [
        f"{file_name(config.data.name)}: {facts.n_train} training, {facts.n_val} validation and {facts.n_test} test "
        f"examples of {shape}; likelihood {config.data.likelihood} ({_reason(config.data, facts)}); κ_max {limits}"
    ]
    found += facts.notes
    if facts.n_repeated:
        found.append(
            f"{facts.n_repeated} validation and test examples are also in another part, value by value: what is "
            "measured on them is too good; remove the copies"
        )
    if config.data.name in DATASETS and Path(config.data.name).is_dir():
        found.append(f"data.name: {config.data.name} is the built-in set; the folder here is ./{config.data.name}")
    if max(abs(facts.low), abs(facts.high)) > 20:
        found.append(
            f"the values span [{facts.low:g}, {facts.high:g}] and are used as they are; networks train better on "
            "values of order 1: divide them once and save the array again"
        )
    rms = facts.kappa_max["re"]
    if 0 < rms < SMALL and max(abs(facts.low), abs(facts.high)) < 1:
        found.append(
            f"the values are off their mean image by {rms:.2g} (RMS), and networks start from outputs of order 1: a "
            f"trial may end worse than the mean image; divide the values by {rms:.2g} once and save the array again"
        )
    return found


def _reason(data: DataConfig, facts: DataFacts) -> str:
    """What about the data made the likelihood what it is."""
    if data.likelihood == "gaussian":
        return "as configured, the values are bits" if facts.bits else "the values are gray"
    if facts.bits:
        return "the values are bits"
    drawn = {"dynamic": "drawn as bits at every step", "fixed": "drawn as bits once", "soft": "taken as they are"}
    return f"gray values {drawn[data.binarize]}"


def model_notes(
    space: Space,
    base: Mapping[str, Any],
    default: TrialConfig,
    facts: DataFacts,
    resolved: Callable[[Mapping[str, Any]], TrialConfig],
) -> list[str]:
    """What the user should know of their own models.

    Parameters
    ----------
    space
        In numbers.
    base
        The fixed part of every trial, by path.
    default
        The default configuration, resolved.
    facts
        Of the data.
    resolved
        The configuration of a tree.

    Returns
    -------
    list of str
        Sentences; often none.

    Raises
    ------
    UserError
        One that can be drawn cannot be trained.
    """
    domain = space.dimensions.get("model.kind")
    found = []
    for kind in domain.levels() if domain else (default.model.kind,):
        tree = unflatten({**base, "model.kind": kind})
        found += check_user_model(resolved(assemble(tree, space, space.default(tree))).model, facts.shape)
    return found


def phase_notes(space: Space, base: Mapping[str, Any], default: TrialConfig) -> list[str]:
    """At which epochs trials are compared, where the space can draw cycles or one-cycle rates.

    Parameters
    ----------
    space
        In numbers.
    base
        The fixed part of every trial, by path.
    default
        The default configuration, resolved.

    Returns
    -------
    list of str
        Sentences; often none.
    """
    drawn = list(_schedules_drawn(space, base, default))
    cycles = ", ".join(f"{path} {kind}" for path, kind in drawn if _has_cycles(path, kind))
    found = []
    if cycles:
        found.append(
            f"under {cycles} trials are compared at the end of their last complete cycle; without one they go on"
        )
    if ("lr.kind", "one-cycle") in drawn:
        found.append("under lr.kind one-cycle trials go on until their learning rate has passed its peak")
    return found


def _schedules_drawn(space: Space, base: Mapping[str, Any], default: TrialConfig) -> Iterator[tuple[str, str]]:
    """(path, kind) of every schedule that a trial can have."""
    for path, section in (("beta.kind", default.beta), ("lr.kind", default.lr)):
        domain = space.dimensions.get(path)
        fixed = space.fixed.get(path, base.get(path, section and section.kind))
        yield from ((path, str(kind)) for kind in (domain.levels() if domain else (fixed,)) if kind is not None)


def _has_cycles(path: str, kind: str) -> bool:
    section = path.partition(".")[0]
    return bool(phases_of(parse_config({section: {"kind": kind}}), steps_per_epoch=1_000).periods)


def rate_notes(space: Space, base: Mapping[str, Any], trials: Iterable[TrialConfig]) -> list[str]:
    """The learning rates in use where they are not as written: of the given trials, or over what the space varies.

    Parameters
    ----------
    space
        In numbers.
    base
        The fixed part of every trial, by path.
    trials
        Those that stand for the sweep.

    Returns
    -------
    list of str
        Sentences; often none.
    """
    first = next(iter(trials := list(trials)))
    if not space.dimensions.keys() & {*RATES, *SCALED_BY}:
        found = (trial.lr.rate_in_use(trial.batch_size) for trial in trials)
        return list(dict.fromkeys(note for note in found if note))

    def levels(path: str, fixed: Any) -> list[Any]:
        domain = space.dimensions.get(path)
        return list(domain.levels()) if domain else [fixed]

    written = {**base, **space.fixed}.get("lr.scaling", "auto")
    sizes, base_sizes = levels("batch_size", first.batch_size), levels("lr.base_batch_size", first.lr.base_batch_size)
    rules = dict.fromkeys(map(scaling_of, levels("lr.scaling", written)))
    factors = [scaling_factor(rule, size / of) for rule, size, of in product(rules, sizes, base_sizes)]
    if min(factors) == max(factors) == 1:
        return []
    *others, last = (SCALING_NAMES[rule] for rule in rules)
    names = f"{', '.join(others)} or {last}" if others else last
    return [
        f"learning rates are multiplied by {_span(factors)} ({names} scaling, batch {_span(sizes)} over base batch "
        f"{_span(base_sizes)})"
    ]


def _span(values: Iterable[float]) -> str:
    low, high = min(values := list(values)), max(values)
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def budget_notes(space: Space, default: TrialConfig, given: Sequence[TrialConfig], facts: DataFacts) -> list[str]:
    """Whether the budget is too short for GECO.

    Parameters
    ----------
    space
        In numbers.
    default
        The default configuration, resolved.
    given
        Trials given one by one; without them those count that can be drawn.
    facts
        Of the data.

    Returns
    -------
    list of str
        Sentences; often none.
    """
    found = (
        [config for config in given if isinstance(config.objective, Geco)] if given else _slowest_drawn(space, default)
    )
    if not found:
        return []
    return geco_notes(max(found, key=lambda config: updates_to_settle(config) * config.batch_size), facts)


def _slowest_drawn(space: Space, default: TrialConfig) -> list[TrialConfig]:
    """The slowest to settle that the space can draw under GECO: of the largest batch, under the slowest optimiser."""
    kinds, optimizers = space.dimensions.get("objective.kind"), space.dimensions.get("optimizer.kind")
    if "geco" not in (kinds.levels() if kinds else (default.objective.kind,)):
        return []
    drawn = (
        [parse_config({"optimizer": {"kind": kind}}).optimizer for kind in optimizers.levels()] if optimizers else []
    )
    slowest = max(drawn or [default.optimizer], key=lambda optimizer: optimizer.settling)
    return [default.model_copy(update={"batch_size": largest_batch(space, default), "optimizer": slowest})]
