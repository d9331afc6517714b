"""From per-seed differences to one word for each rival."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tuner.comparison.holm import holm
from tuner.comparison.intervals import Interval, is_equivalent, mean_interval
from tuner.comparison.sign_flip import sign_flip_p

__all__ = ["ALPHA", "MARGIN", "RivalResult", "judge"]

ALPHA = 0.05
MARGIN = 0.5

Verdict = Literal["lower", "equivalent", "higher", "undecided"]


@dataclass(frozen=True)
class RivalResult:
    """GECO's J minus a rival's, mean over seeds, in nats; lo, hi: what holds it, with 95 % for all rivals together.

    p: of the sign-flip test, adjusted for all rivals. verdict: `equivalent` where the difference is surely within half
    a nat, however significant; else `lower` or `higher` where it is significant and the interval, which holds the
    uncertainty of the chosen learning rates too, leaves out 0; else `undecided`.
    """

    rival: str
    mean: float
    lo: float
    hi: float
    p: float
    verdict: Verdict


def judge(
    differences: Mapping[str, Sequence[float]], selection: Mapping[str, float] | None = None
) -> list[RivalResult]:
    """By rival, GECO's J minus the rival's for each seed, averaged over the levels. selection: by rival, the standard
    deviation that the choice of both learning rates adds; none where nothing was chosen."""
    adjusted = holm({rival: sign_flip_p(values) for rival, values in differences.items()})
    common = selection or {}
    level = 1 - ALPHA / max(1, len(differences))
    return [
        _result(rival, values, adjusted[rival], common.get(rival, 0.0), level) for rival, values in differences.items()
    ]


def _result(rival: str, values: Sequence[float], p: float, common_sd: float, level: float) -> RivalResult:
    found = mean_interval(values, level, common_sd)
    equivalent = is_equivalent(values, MARGIN, common_sd)
    return RivalResult(rival, found.mean, found.lo, found.hi, p, "equivalent" if equivalent else _verdict(found, p))


def _verdict(found: Interval, p: float) -> Verdict:
    if p > ALPHA or found.lo <= 0 <= found.hi:
        return "undecided"
    return "lower" if found.mean < 0 else "higher"
