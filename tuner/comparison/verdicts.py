"""From the differences by level and seed to one word for each rival."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal

from tuner.comparison.holm import holm
from tuner.comparison.intervals import Interval, is_equivalent, mean_interval
from tuner.comparison.sign_flip import sign_flip_p

__all__ = ["ALPHA", "MARGIN", "Differences", "LevelResult", "RivalResult", "adjusted_p", "judge", "means_by_seed"]

ALPHA = 0.05
MARGIN = 0.5

Verdict = Literal["lower", "equivalent", "higher", "undecided"]

Differences = Mapping[float, Mapping[int, float]]
"""GECO's J minus a rival's, by κ and then by seed."""


@dataclass(frozen=True)
class LevelResult:
    """The difference at one level: mean over seeds with its own 95 % interval. equivalent: surely within ±MARGIN."""

    kappa: float
    mean: float
    lo: float
    hi: float
    equivalent: bool


@dataclass(frozen=True)
class RivalResult:
    """GECO's J minus a rival's, mean over levels and seeds, in nats; lo, hi: what holds it, with 95 % for all rivals
    together.

    p: of the sign-flip test, adjusted for all rivals. verdict: `equivalent` where the difference is surely within half
    a nat at every level, however significant; else `lower` or `higher` where the mean is significant and its interval,
    which holds the uncertainty of the chosen learning rates too, leaves out 0; else `undecided`.
    """

    rival: str
    mean: float
    lo: float
    hi: float
    p: float
    verdict: Verdict
    levels: tuple[LevelResult, ...]

    @property
    def largest(self) -> LevelResult:
        """The level at which the two differ most."""
        return max(self.levels, key=lambda level: abs(level.mean))

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {**vars(self), "levels": [vars(level) for level in self.levels]}


def judge(
    differences: Mapping[str, Differences], selection: Mapping[str, Mapping[float, float]] | None = None
) -> list[RivalResult]:
    """What the differences to each rival amount to. selection: by rival and κ, the standard deviation that the choice
    of both learning rates adds; none where nothing was chosen.

    Equivalence needs two one-sided t tests at 5 % at every level (an intersection-union test, which needs no correction
    for the number of levels; Berger 1982): of effects of both signs the mean alone may be small. The 5 % are each
    rival's own.
    """
    adjusted = adjusted_p(differences)
    together = 1 - ALPHA / max(1, len(differences))
    return [
        _result(rival, found, adjusted[rival], (selection or {}).get(rival, {}), together)
        for rival, found in differences.items()
    ]


def adjusted_p(differences: Mapping[str, Differences]) -> dict[str, float]:
    """By rival, the sign-flip test over seeds with Holm's correction."""
    return holm({rival: sign_flip_p(means_by_seed(found)) for rival, found in differences.items()})


def means_by_seed(found: Differences) -> list[float]:
    """For each seed the mean over the levels that have it."""
    seeds: dict[int, list[float]] = {}
    for values in found.values():
        for seed, value in values.items():
            seeds.setdefault(seed, []).append(value)
    return [fmean(values) for values in seeds.values()]


def _result(
    rival: str, found: Differences, p: float, selection: Mapping[float, float], confidence: float
) -> RivalResult:
    levels = tuple(_level(kappa, list(found[kappa].values()), selection.get(kappa, 0.0)) for kappa in sorted(found))
    common_sd = math.hypot(*selection.values()) / max(1, len(selection))
    mean = mean_interval(means_by_seed(found), confidence, common_sd)
    verdict = "equivalent" if all(level.equivalent for level in levels) else _verdict(mean, p)
    return RivalResult(rival, mean.mean, mean.lo, mean.hi, p, verdict, levels)


def _level(kappa: float, values: list[float], common_sd: float) -> LevelResult:
    found = mean_interval(values, 1 - ALPHA, common_sd)
    return LevelResult(kappa, found.mean, found.lo, found.hi, is_equivalent(values, MARGIN, common_sd))


def _verdict(found: Interval, p: float) -> Verdict:
    if p > ALPHA or found.lo <= 0 <= found.hi:
        return "undecided"
    return "lower" if found.mean < 0 else "higher"
