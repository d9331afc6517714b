"""The curve of KL over distortion between trained points, by the slope that theory gives it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicHermiteSpline

from tuner.comparison.design import PLAIN, Design, Level, Trained

Values = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Point:
    """A place in the information plane. across: ln of the squared error per element, or under bits the nats.
    weight: the λ it was trained at; None where it was at none."""

    across: float
    kl: float
    weight: float | None = None


def place(design: Design, test: Mapping[str, float], weight: float | None = None) -> Point:
    """Where a run lies, by what the test set says of it.

    Parameters
    ----------
    design
        The comparison's.
    test
        Metrics by name.
    weight
        The λ it was trained at, if any.

    Returns
    -------
    Point
        In the information plane.
    """
    distortion = design.distortion(test)
    across = distortion if design.scale.sigma is None else math.log(distortion / design.scale.n_elements)
    return Point(across, test["test/kl"], weight)


def path_points(design: Design, levels: Sequence[Level], path: Sequence[Trained], method: str) -> list[Point]:
    """Of a method's runs at each level the mean over seeds.

    Parameters
    ----------
    design
        The comparison's.
    levels
        With their λ̂.
    path
        Runs of all methods; those that did not train to their end are left out.
    method
        Its name.

    Returns
    -------
    list of Point
        In the order of their distortion.
    """
    found = []
    for level in levels:
        own = [
            each.test for each in path if each.completed and (each.run.method, each.run.kappa) == (method, level.kappa)
        ]
        if own:
            names = ("test/kl", "test/mse", "test/recon_nll")
            found.append(place(design, {name: fmean(test[name] for test in own) for name in names}, level.weight))
    return sorted(found)


def curve_through(design: Design, points: Sequence[Point]) -> Callable[[Values], Values]:
    """KL over `across` through points that were trained each at its λ, for what lies between them.

    Parameters
    ----------
    design
        The comparison's; it says whether the reconstruction is a squared error or nats.
    points
        Two or more, in any order.

    Returns
    -------
    callable
        `across` [N] → KL [N], in nats.
    """
    across = np.array([point.across for point in points])
    kl, weight = [point.kl for point in points], [point.weight or 0.0 for point in points]
    if design.scale.sigma is None:
        return partial(_at, kl_curve_of_nats(across.tolist(), kl, weight))
    shift = math.log(design.scale.n_elements)
    return partial(_at, kl_curve(np.exp(across + shift).tolist(), kl, weight), shift=shift)


def _at(curve: CubicHermiteSpline, across: Values, shift: float = 0.0) -> Values:
    return np.asarray(curve(across + shift))


def kl_curve(sse: Sequence[float], kl: Sequence[float], weight: Sequence[float]) -> CubicHermiteSpline:
    """KL as a function of ln SSE through points that minimise KL + λ·SSE each at its own λ.

    There dKL/dSSE = −λ, so that dKL/d ln SSE = −λ·SSE (Alemi et al. 2018, 1711.00464): cubic Hermite pieces with that
    slope.

    Parameters
    ----------
    sse
        Per example; distinct.
    kl
        Nats.
    weight
        λ of each point.

    Returns
    -------
    CubicHermiteSpline
        ln SSE → KL.

    Examples
    --------
    >>> import numpy as np
    >>> curve = kl_curve([1.0, 2.0], [3.0, 2.0], [1.5, 0.75])  # KL = 3 − 1.5·ln SSE has these slopes
    >>> round(float(curve(np.log(2)) - curve(0.0)), 3), round(float(curve.derivative()(0.0)), 3)
    (-1.0, -1.5)
    """
    x, y, w = _in_order(sse, kl, weight)
    return CubicHermiteSpline(np.log(x), y, -w * x)


def kl_curve_of_nats(nats: Sequence[float], kl: Sequence[float], weight: Sequence[float]) -> CubicHermiteSpline:
    """The same under bits, as a function of the reconstruction's nats, over which the slope is −λ itself.

    Parameters
    ----------
    nats
        Per example; distinct.
    kl
        Nats.
    weight
        λ of each point.

    Returns
    -------
    CubicHermiteSpline
        Nats → KL.
    """
    x, y, w = _in_order(nats, kl, weight)
    return CubicHermiteSpline(x, y, -w)


def _in_order(*columns: Sequence[float]) -> Values:
    found = np.asarray(columns, dtype=np.float64)
    return found[:, np.argsort(found[0])]


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
    """What has no λ̂ beside the curve of constant β: of the plain ELBO the runs at the learning rate that suits it, of
    free bits the whole pool.

    Parameters
    ----------
    design
        The comparison's.
    levels
        With their λ̂.
    trained
        Ends of runs by stage.

    Returns
    -------
    list of Placed
        Empty where constant β has no two levels to draw a curve through.
    """
    curve = path_points(design, levels, trained["path"], BASELINE)
    if len(curve) < 2:
        return []
    free = [each for each in trained["pool"] if each.completed and each.run.method == FREE_BITS]
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
