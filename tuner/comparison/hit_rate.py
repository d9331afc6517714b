"""Q3: given κ*, how many trials until one keeps to it at a KL near the best known?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from trainables.grouping import grouped
from tuner.comparison.design import Design, Trained
from tuner.comparison.statistics import chance_of_a_hit
from tuner.comparison.tuning_cost import MOST_TRIALS

KAPPA_TOLERANCE = 0.02
KL_TOLERANCE = 0.5


@dataclass(frozen=True)
class TargetAnswer:
    """kappa: κ*. best_kl: at κ*, of all these runs within 2 % of it, None where there is none. hits: by method, of its
    pool. chance: by method, that one of n = 1 … 20 hits."""

    kappa: float
    best_kl: float | None
    hits: dict[str, tuple[int, int]]
    chance: dict[str, list[float]]


def answer_target(design: Design, targets: Sequence[Trained], pools: Sequence[Trained]) -> TargetAnswer:
    """How many trials of each method hit κ*, and the chance that one of n does.

    GECO's pool is the one at κ*, where its dial needs no search: the learning rates of the grid in turn, each with
    seeds of its own. A rival's dials and learning rates are random, its seed one.

    A run hits where its error on training data, which is what κ constrains, is within 2 % of κ*, and its KL on test
    data, carried to κ* along the frontier, within half a nat of the lowest.

    Parameters
    ----------
    design
        The comparison's.
    targets
        GECO's runs at κ*.
    pools
        All methods' random trials; GECO's count for nothing here.

    Returns
    -------
    TargetAnswer
        Without a hit where no run comes near κ*.
    """
    rivals = grouped((each.run.method, each) for each in pools if each.run.method != "geco")
    own = {"geco": list(targets), **rivals}
    weight = _weight(targets)
    near = {method: [_kl_at_target(design, each, weight) for each in found] for method, found in own.items()}
    known = [kl for found in near.values() for kl in found if math.isfinite(kl)]
    best = min(known, default=None)
    hits = {method: _n_hits(found, best) for method, found in near.items()}
    return TargetAnswer(
        design.target,
        best,
        {method: (hits[method], len(found)) for method, found in near.items()},
        {method: _chances(len(found), hits[method]) for method, found in near.items()},
    )


def _chances(pool: int, hits: int) -> list[float]:
    return [chance_of_a_hit(pool, hits, n) for n in range(1, min(MOST_TRIALS, pool) + 1)]


def _n_hits(kls: Sequence[float], best: float | None) -> int:
    return 0 if best is None else sum(1 for kl in kls if kl <= best + KL_TOLERANCE)


def _weight(targets: Sequence[Trained]) -> float:
    """λ̂ at κ*; 0 where no run knows it, so that no KL is carried."""
    found = [each.weight for each in targets if each.completed and each.weight]
    settled = [each.weight for each in targets if each.completed and each.weight and each.outcome == "ok"]
    return geometric_mean(settled or found) if found else 0.0


def _kl_at_target(design: Design, each: Trained, weight: float) -> float:
    """KL + λ̂·(distortion − the one at κ*) of a run within 2 % of κ*, else infinity.

    Along the frontier KL falls by λ for each unit of distortion: 2 % of κ* are often worth more than half a nat.
    """
    if not each.completed or abs(_kappa_of(design, each.val) / design.target - 1) > KAPPA_TOLERANCE:
        return math.inf
    beyond = _distortion(design, _kappa_of(design, each.val)) - _distortion(design, design.target)
    return each.test["test/kl"] + weight * beyond


def _kappa_of(design: Design, metrics: Mapping[str, float]) -> float:
    """What κ calls the error on training data: its RMS per element, or its nats per element."""
    if design.scale.sigma is None:
        return metrics["train/recon_nll"] / design.scale.n_elements
    return math.sqrt(metrics["train_eval/mse"])


def _distortion(design: Design, kappa: float) -> float:
    """The SSE, or the nats, at which the constraint κ is met exactly."""
    return design.scale.n_elements * (kappa if design.scale.sigma is None else kappa**2)
