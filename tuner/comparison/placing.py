"""What has no λ̂ beside the curve of those that do: free bits and the plain ELBO in the plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.comparison.design import PLAIN, Design, Level, Trained
from tuner.comparison.frontier import Point, curve_through, path_points, place

__all__ = ["BASELINE", "Placed", "place_beside_curve"]

BASELINE = "beta"
FREE_BITS = "free-bits"
QUARTILES = (25, 50, 75)


@dataclass(frozen=True)
class Placed:
    """A method's runs beside the curve of constant β. n: that trained to their end. beside: whose error lies between
    the curve's ends. above: quartiles of their KL minus the curve's at their error, in nats; None where there are none.
    """

    method: str
    n: int
    beside: int
    above: tuple[float, float, float] | None


def place_beside_curve(
    design: Design, levels: Sequence[Level], trained: Mapping[str, Sequence[Trained]]
) -> list[Placed]:
    """Of the plain ELBO its runs at the learning rate that suits it, of free bits the whole pool; none where constant β
    has no two levels to draw a curve through. trained: by stage."""
    curve = path_points(design, levels, trained["path"], BASELINE)
    if len(curve) < 2:
        return []
    free = [each for each in trained["pool"] if each.whole and each.run.method == FREE_BITS]
    shown = {PLAIN: design.best_plain(trained["plain"]), FREE_BITS: free}
    return [
        _placed(design, curve, method, [place(design, each.test) for each in runs])
        for method, runs in shown.items()
        if runs
    ]


def _placed(design: Design, curve: Sequence[Point], method: str, runs: Sequence[Point]) -> Placed:
    beside = [point for point in runs if curve[0].across <= point.across <= curve[-1].across]
    if not beside:
        return Placed(method, len(runs), 0, None)
    across, kl = np.array([(point.across, point.kl) for point in beside]).T
    low, middle, high = (float(q) for q in np.percentile(kl - curve_through(design, curve)(across), QUARTILES))
    return Placed(method, len(runs), len(beside), (low, middle, high))
