"""From per-seed differences to one word for each rival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tuner.comparison.holm import holm
from tuner.comparison.intervals import is_equivalent, mean_interval
from tuner.comparison.sign_flip import sign_flip_p

__all__ = ["ALPHA", "MARGIN", "RivalResult", "judge"]

ALPHA = 0.05
MARGIN = 0.5

Verdict = Literal["lower", "equivalent", "higher", "undecided"]


@dataclass(frozen=True)
class RivalResult:
    """GECO's J minus a rival's, mean over seeds with its 95 % interval, in nats.

    p: of the sign-flip test, adjusted for all rivals. verdict: `equivalent` where the difference is surely within half
    a nat, however significant; else `lower` or `higher` where it is significant; else `undecided`.
    """

    rival: str
    mean: float
    lo: float
    hi: float
    p: float
    verdict: Verdict


def judge(differences: Mapping[str, Sequence[float]]) -> list[RivalResult]:
    """By rival, GECO's J minus the rival's for each seed, averaged over the levels."""
    adjusted = holm({rival: sign_flip_p(values) for rival, values in differences.items()})
    return [_result(rival, values, adjusted[rival]) for rival, values in differences.items()]


def _result(rival: str, values: Sequence[float], p: float) -> RivalResult:
    found = mean_interval(values)
    return RivalResult(rival, found.mean, found.lo, found.hi, p, _verdict(values, found.mean, p))


def _verdict(values: Sequence[float], mean: float, p: float) -> Verdict:
    if is_equivalent(values, MARGIN):
        return "equivalent"
    if p > ALPHA:
        return "undecided"
    return "lower" if mean < 0 else "higher"
