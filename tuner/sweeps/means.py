"""What several seeds of one configuration amount to: means, and how far to trust them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from trainables.ranking import mean

Metrics = Mapping[str, float]


def means(runs: Sequence[Metrics]) -> dict[str, float]:
    """The mean over runs of every metric that all of them have.

    Parameters
    ----------
    runs
        Metrics of each; at least one.

    Returns
    -------
    dict of str to float
        By metric.

    Examples
    --------
    >>> means([{"val/kl": 1.0, "val/mse": 0.5}, {"val/kl": 3.0}])
    {'val/kl': 2.0}
    """
    return {name: mean([run[name] for run in runs]) for name in runs[0] if all(name in run for run in runs)}


def standard_errors(runs: Sequence[Metrics]) -> dict[str, float] | None:
    """Of each mean over K runs s/√K, s² = Σ(x − mean)²/(K − 1).

    Parameters
    ----------
    runs
        Metrics of each; at least one.

    Returns
    -------
    dict of str to float, or None
        By metric; None of one run.

    Examples
    --------
    >>> standard_errors([{"val/kl": 1.0}, {"val/kl": 3.0}])
    {'val/kl': 1.0}
    """
    if len(runs) < 2:
        return None
    return {name: _standard_error([run[name] for run in runs], value) for name, value in means(runs).items()}


def _standard_error(values: Sequence[float], middle: float) -> float:
    return math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1) / len(values))


def common_outcome(outcomes: Sequence[str | None]) -> str | None:
    """The first that is not `ok`, for a constraint that one seed misses is not met.

    Parameters
    ----------
    outcomes
        Of each seed; None where a trial has none.

    Returns
    -------
    str or None
        None where no seed has one.

    Examples
    --------
    >>> common_outcome(["ok", "unmet", "slack"])
    'unmet'
    """
    known = [outcome for outcome in outcomes if outcome]
    return next((outcome for outcome in known if outcome != "ok"), known[0] if known else None)
