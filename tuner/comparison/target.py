"""Q3: given κ*, how many trials until one keeps to it at a KL near the best known?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.comparison.chance import chance_of_a_hit
from tuner.comparison.design import Design, Trained
from tuner.comparison.quality import MOST_TRIALS

__all__ = ["TargetAnswer", "answer_target"]

DISTORTION_TOLERANCE = 0.02
KL_TOLERANCE = 0.5


@dataclass(frozen=True)
class TargetAnswer:
    """kappa: κ*. best_kl: of all runs within 2 % of it, None where there is none. hits: by method, of its pool.
    chance: by method, that one of n = 1 … 20 hits."""

    kappa: float
    best_kl: float | None
    hits: dict[str, tuple[int, int]]
    chance: dict[str, list[float]]


def answer_target(design: Design, targets: Sequence[Trained], pools: Sequence[Trained]) -> TargetAnswer:
    """GECO's pool is the one at κ*, where its dial needs no search; a rival's dials are random."""
    own = {"geco": list(targets)}
    for each in pools:
        if each.run.method != "geco":
            own.setdefault(each.run.method, []).append(each)
    near = {method: [_kl_if_near(design, each) for each in found] for method, found in own.items()}
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


def _kl_if_near(design: Design, each: Trained) -> float:
    """A run's KL where its distortion is within 2 % of κ*, else infinity."""
    if not each.whole or abs(_kappa_of(design, each.test) / design.target - 1) > DISTORTION_TOLERANCE:
        return math.inf
    return each.test["test/kl"]


def _kappa_of(design: Design, test: Mapping[str, float]) -> float:
    """What κ would call this distortion: the RMS error per element, or the nats."""
    if design.scale.sigma is None:
        return test["test/recon_nll"] / design.scale.n_elements
    return math.sqrt(test["test/mse"])
