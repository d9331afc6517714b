"""By which metrics a sweep searches, and what its trials must report for that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.space import Space
from trainables.config import TrialConfig
from trainables.config.paths import suggest
from trainables.errors import ConfigError
from trainables.likelihoods import LIKELIHOODS
from tuner.sweeps.metrics import METRICS, SATURATING
from tuner.sweeps.spec import SweepSpec

NLL, AGGREGATE = "val/nll", "val/agg_kl_gauss"
SEARCH_NLL_SAMPLES = 100
MOST_METRICS = 3


def chosen_metrics(
    chosen: str | tuple[str, ...], default: TrialConfig, base: Mapping[str, Any], space: Space
) -> tuple[str, ...]:
    """The metrics that a sweep searches by.

    Parameters
    ----------
    chosen
        As the spec has them; `auto` is settled.
    default
        The default configuration, resolved.
    base
        The fixed part of every trial, by path.
    space
        What it searches.

    Returns
    -------
    tuple of str
        One to three; rungs and ranking go by the first.

    Raises
    ------
    ConfigError
        No trial of the sweep can be ranked by one of them.
    """
    names = (chosen,) if isinstance(chosen, str) else chosen
    if chosen == "auto":
        names = (_auto_metric(default, base, space),)
    if not 1 <= len(set(names)) == len(names) <= MOST_METRICS:
        raise ConfigError(f"search.metric: [{', '.join(names)}]: give 1 to {MOST_METRICS} metrics, each once")
    for name in names:
        _check_metric(name, default)
    return names


def _auto_metric(default: TrialConfig, base: Mapping[str, Any], space: Space) -> str:
    """IWAE loses on the ELBO what it wins on the likelihood, so that a space with it is ranked by that."""
    searched = space.dimensions.get("objective.kind")
    kinds = searched.levels() if searched else ({**base, **space.fixed}.get("objective.kind"),)
    if "iwae" in kinds:
        return NLL
    return LIKELIHOODS[default.data.likelihood].metric


def _check_metric(name: str, default: TrialConfig) -> None:
    if name.startswith("test/"):
        raise ConfigError(f"search.metric: {name}: test data must not select; use a val/ metric such as val/elbo")
    known = [metric for metric in METRICS if metric.startswith("val/")]
    if name in METRICS and name not in known:
        raise ConfigError(f"search.metric: {name} is not measured on validation data; allowed: {', '.join(known)}")
    if name not in known:
        raise ConfigError(f"search.metric: {name!r} cannot be optimised{suggest(name, known)}")
    if name == "val/elbo_cal" and default.data.likelihood == "bernoulli":
        raise ConfigError(
            "search.metric: val/elbo_cal needs a Gaussian likelihood, this sweep's is Bernoulli; use val/elbo"
        )
    if name == NLL and default.data.binarize == "soft":
        raise ConfigError(
            "search.metric: val/nll needs bits, and data.binarize soft keeps gray values, which have no Bernoulli "
            "likelihood; use val/elbo, or data.binarize dynamic or fixed"
        )
    if name in SATURATING:
        raise ConfigError(
            f"search.metric: {name} is estimated from N examples and cannot exceed ln N, near which it is not a "
            f"result: most trials could not be ranked; use {AGGREGATE}. `vae-tuner best --metric {name}` "
            "ranks the trials of any sweep that stay below"
        )


def settings_for(metrics: tuple[str, ...], default: TrialConfig) -> dict[str, Any]:
    """The settings under which a trial reports its costlier metrics at every epoch, where it is compared by them.

    Parameters
    ----------
    metrics
        That the sweep searches by.
    default
        The default configuration, resolved.

    Returns
    -------
    dict
        By configuration path.
    """
    settings: dict[str, Any] = {}
    if {NLL, AGGREGATE} & set(metrics):
        settings["metrics.every"] = 1
    if NLL in metrics and default.metrics.nll_samples is None:
        settings["metrics.nll_samples"] = SEARCH_NLL_SAMPLES
    return settings


def metric_notes(spec: SweepSpec, metrics: tuple[str, ...]) -> list[str]:
    """What the user should know of a search by several metrics.

    Parameters
    ----------
    spec
        Of the sweep.
    metrics
        That it searches by.

    Returns
    -------
    list of str
        Sentences; none for one metric.
    """
    if len(metrics) == 1:
        return []
    kind = scheduler_kind(spec)
    if kind == "none":
        return [f"searched as a Pareto set by {', '.join(metrics)}: no trial is pruned"]
    return [f"searched as a Pareto set by {', '.join(metrics)}: {kind} prunes by the first alone"]


def scheduler_kind(spec: SweepSpec) -> str:
    """The scheduler, with `auto` settled.

    Parameters
    ----------
    spec
        Of the sweep.

    Returns
    -------
    str
        For `auto`, `asha` with one metric and `none` with several, of which none alone says what is hopeless.
    """
    if spec.scheduler.kind != "auto":
        return spec.scheduler.kind
    return "asha" if isinstance(spec.search.metric, str) else "none"
