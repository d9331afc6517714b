"""What a metric rewards, which way is better, and how trials are ranked by it."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from trainables.config.paths import suggest
from trainables.errors import UserError
from trainables.ranking import sign_of

Direction = Literal["max", "min"]
NameT = TypeVar("NameT")


@dataclass(frozen=True)
class MetricInfo:
    """direction: `max` or `min`. rewards: one sentence on what a trial wins by, and what the metric does not see."""

    direction: Direction
    rewards: str


METRICS: dict[str, MetricInfo] = {
    "val/elbo_cal": MetricInfo(
        "max",
        "rewards a good Gaussian fit at the best scalar σ, so that σ, β and κ compare; says nothing about latent "
        "structure or sample quality",
    ),
    "val/elbo": MetricInfo(
        "max",
        "rewards a tight bound on log p(x) at β=1 under the configured likelihood; under a Gaussian one its winner "
        "depends on the fixed σ",
    ),
    "val/nll": MetricInfo(
        "min",
        "rewards the likelihood itself, by metrics.nll_samples importance samples on 1,000 images, however loose the "
        "bound; its bias falls with the samples, is unequal by method and at least val/nll_bias: models that differ by "
        "less than val/nll_drop, what ten times the samples lowered it by, cannot be ranked",
    ),
    "val/recon_nll": MetricInfo(
        "min", "rewards reconstruction alone; a model that ignores the prior wins, and its samples are poor"
    ),
    "val/mse": MetricInfo(
        "min", "rewards reconstruction at z ~ q per element, what GECO constrains; the prior does not count"
    ),
    "val/mse_mean_z": MetricInfo(
        "min", "rewards reconstruction from the posterior mean; lower than val/mse and not comparable with it"
    ),
    "val/kl": MetricInfo("min", "rewards a short code; a collapsed model that reconstructs nothing wins with 0"),
    "val/active_units": MetricInfo(
        "max", "rewards latents whose posterior mean moves with x; says nothing about how well they are used"
    ),
    "val/mutual_info": MetricInfo(
        "max", "rewards a code that tells examples apart; saturates near val/mi_cap, where it ranks nothing"
    ),
    "val/marginal_kl": MetricInfo(
        "min", "rewards an aggregate posterior close to the prior; worthless where val/mutual_info nears val/mi_cap"
    ),
    "val/agg_kl_gauss": MetricInfo(
        "min", "rewards an aggregate posterior with the prior's mean and covariance; a collapsed model wins"
    ),
    "train_eval/elbo": MetricInfo("max", "rewards the bound on training images, overfitting included"),
    "train_eval/mse": MetricInfo("min", "rewards reconstruction of training images at z ~ q, overfitting included"),
    "train/loss": MetricInfo(
        "min", "rewards the annealed or constrained loss itself, which differs between methods; compare one method only"
    ),
    "train/recon_nll": MetricInfo("min", "rewards reconstruction of training images, overfitting included"),
    "train/kl": MetricInfo("min", "rewards a short code on training images; a collapsed model wins with 0"),
    "time/epoch_s": MetricInfo("min", "rewards speed alone"),
    "time/samples_per_s": MetricInfo("max", "rewards speed alone"),
}


SATURATING = ("val/mutual_info", "val/marginal_kl")
NAMED_TRIALS = 3


def direction_of(metric: str) -> Direction:
    """Which way a metric is better.

    Parameters
    ----------
    metric
        As `val/elbo`.

    Returns
    -------
    str
        `max` or `min`.

    Raises
    ------
    UserError
        Trials cannot be ranked by that name, a test metric's included.

    Examples
    --------
    >>> direction_of("val/elbo"), direction_of("val/kl")
    ('max', 'min')
    """
    if metric.startswith("test/"):
        raise UserError(
            f"metric {metric!r} is refused: test data must not select; use its validation counterpart, "
            f"as in `--metric val/{metric.removeprefix('test/')}`"
        )
    if metric not in METRICS:
        raise UserError(f"metric {metric!r} cannot be ranked by{suggest(metric, list(METRICS))}")
    return METRICS[metric].direction


def is_usable(value: float) -> bool:
    """Whether a value is finite, also after a trip through a database that stores ±inf as the largest float.

    Parameters
    ----------
    value
        Of a metric.

    Returns
    -------
    bool
        False for NaN too.
    """
    return math.isfinite(value) and abs(value) < sys.float_info.max


def is_result(metrics: Mapping[str, float], metric: str) -> bool:
    """Whether a trial can be ranked by a metric: its value is finite, and no estimate that stands at its own bound.

    Parameters
    ----------
    metrics
        Of the trial.
    metric
        Its name.

    Returns
    -------
    bool
        False where it was not reported.
    """
    return _refusal(metrics, metric) is None


def _refusal(metrics: Mapping[str, float], metric: str) -> str | None:
    """Why a trial cannot be ranked by a metric, None where it can."""
    if metric in SATURATING and metrics.get("val/mi_saturated", 0.0) > 0:
        return (
            f"{metric} is estimated from N examples and has reached its bound ln N (val/mi_cap), where it ranks "
            "nothing; use val/agg_kl_gauss"
        )
    return None if is_usable(metrics.get(metric, math.nan)) else f"{metric} was not reported, or was not finite"


def why_not_ranked(trials: Iterable[tuple[str, Mapping[str, float]]], metrics: Sequence[str]) -> list[str]:
    """Which trials cannot be ranked, and why.

    Parameters
    ----------
    trials
        (id, its metrics) of each.
    metrics
        The names that a trial must have a result for.

    Returns
    -------
    list of str
        A text for each reason; of many trials the first three are named.

    Examples
    --------
    >>> why_not_ranked([("0000", {"val/kl": 1.0}), ("0001", {})], ["val/kl"])
    ['trial 0001: val/kl was not reported, or was not finite']
    """
    refused: dict[str, list[str]] = {}
    for trial, values in trials:
        reason = next(filter(None, (_refusal(values, metric) for metric in metrics)), None)
        if reason:
            refused.setdefault(reason, []).append(trial)
    return [f"{_named(names)}: {reason}" for reason, names in refused.items()]


def _named(trials: Sequence[str]) -> str:
    more = f" and {len(trials) - NAMED_TRIALS} more" if len(trials) > NAMED_TRIALS else ""
    return f"trial{'s' if len(trials) > 1 else ''} {', '.join(trials[:NAMED_TRIALS])}{more}"


def unranked_by_nll(found: Mapping[NameT, tuple[float, float]]) -> list[NameT]:
    """The names, lowest NLL first, that cannot be told from the lowest; empty where the lowest is the best.

    Estimates still fall by at least as much as ten times the samples have lowered them, unequally, so that smaller
    differences may turn round.

    Parameters
    ----------
    found
        By name, the NLL and by how much ten times the samples have lowered it.

    Returns
    -------
    list
        Names.

    Examples
    --------
    >>> unranked_by_nll({"geco": (90.0, 0.3), "beta": (90.2, 0.1), "linear": (91.0, 0.1)})
    ['geco', 'beta']
    """
    first, *others = sorted(found, key=lambda name: found[name][0])
    near = [each for each in others if found[each][0] - found[first][0] < max(found[first][1], found[each][1])]
    return [first, *near] if near else []


def rank_key(value: float, direction: Direction, trial: str) -> tuple[float, str]:
    """What sorts trials best first, and ties by their ids.

    Parameters
    ----------
    value
        Of the metric.
    direction
        `max` or `min`.
    trial
        Its id.

    Returns
    -------
    tuple
        The smaller, the better.
    """
    return (-value if direction == "max" else value, trial)


def on_test_data(metric: str) -> str:
    """The same metric on test data.

    Parameters
    ----------
    metric
        Of validation data.

    Returns
    -------
    str
        Its name.

    Examples
    --------
    >>> on_test_data("val/elbo")
    'test/elbo'
    """
    return metric.replace("val/", "test/", 1)


def pareto_front(values: Sequence[Sequence[float]], directions: Sequence[str]) -> list[int]:
    """The rows that are not dominated, in their order.

    A row dominates another if it is at least as good in every column and better in one. Equal rows stay together; a row
    with a value that is not finite is never on the front and dominates nothing.

    Parameters
    ----------
    values
        [n, m].
    directions
        `max` or `min` of each column.

    Returns
    -------
    list of int
        Numbers of rows.

    Raises
    ------
    ValueError
        There are not as many directions as columns.

    Examples
    --------
    >>> pareto_front([[0.1, 3.0], [0.2, 2.0], [0.2, 4.0]], ["min", "min"])
    [0, 1]
    """
    if not len(values):
        return []
    scores = np.array(values, dtype=float)
    if scores.shape[1] != len(directions):
        raise ValueError(f"{scores.shape[1]} columns and {len(directions)} directions")
    scores *= [sign_of(direction) for direction in directions]
    finite = np.flatnonzero(np.isfinite(scores).all(axis=1))
    own = scores[finite]
    return [int(row) for row in finite if not _is_dominated(scores[row], own)]


def _is_dominated(score: np.ndarray, others: np.ndarray) -> bool:
    return bool(np.any((others >= score).all(axis=1) & (others > score).any(axis=1)))
