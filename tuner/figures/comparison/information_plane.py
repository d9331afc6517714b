"""Fig. 4 of "Taming VAEs" on the user's data: KL over error, GECO's levels tied by a line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tuner.comparison.frontier import kl_curve
from tuner.figures.comparison.series import by_method, colour_of, marker_of, mean_of
from tuner.figures.style import style_axes, wide_figure

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison
    from tuner.comparison.design import Trained

__all__ = ["information_plane_figure"]

CURVE_POINTS = 200


def information_plane_figure(comparison: Comparison) -> Figure | None:
    """Test KL over test error: of the path's runs the mean over seeds at each level, of the pools every trial."""
    path = by_method(comparison.trained["path"])
    pools = by_method(comparison.trained["pool"])
    if not path and not pools:
        return None
    figure, [axes] = wide_figure()
    gaussian = comparison.design.scale.sigma is not None
    name = "ln of the squared error per element" if gaussian else "reconstruction  [nats per example]"
    style_axes(axes, f"{name}, on test images", "KL  [nats per example]")
    for method, trained in pools.items():
        axes.plot(
            [_across(comparison, each.test) for each in trained],
            [each.test["test/kl"] for each in trained],
            marker_of(method), color=colour_of(method), alpha=0.22, markersize=4, markeredgewidth=0,
        )  # fmt: skip
    for method in dict.fromkeys([*path, *pools]):
        _draw_method(axes, comparison, method, path.get(method, []))
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small", title="large: path at λ̂ · small: pools", title_fontsize="small")
    return figure


def _draw_method(axes: Axes, comparison: Comparison, method: str, trained: list[Trained]) -> None:
    points = sorted(_levels(comparison, trained))
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    axes.plot(xs, ys, marker_of(method), color=colour_of(method), markersize=8, label=method)
    if method == "geco" and len(points) > 1:
        axes.plot(*_curve(comparison, points), color=colour_of(method), linewidth=1.4)


def _levels(comparison: Comparison, trained: list[Trained]) -> list[tuple[float, float, float]]:
    """Error, KL and λ̂ of each level, means over seeds."""
    weights = {level.kappa: level.weight for level in comparison.levels if level.weight}
    found = []
    for kappa in sorted({each.run.kappa for each in trained if each.run.kappa is not None}):
        own = [each for each in trained if each.run.kappa == kappa]
        metrics = {name: mean_of(own, name) for name in ("test/mse", "test/recon_nll", "test/kl")}
        found.append((_across(comparison, metrics), metrics["test/kl"], float(weights[kappa])))
    return found


def _across(comparison: Comparison, test: object) -> float:
    assert isinstance(test, dict)
    return math.log(test["test/mse"]) if comparison.design.scale.sigma is not None else float(test["test/recon_nll"])


def _curve(comparison: Comparison, points: list[tuple[float, float, float]]) -> tuple[list[float], list[float]]:
    """Between GECO's levels by the slope −λ·SSE that theory gives; straight where the axis is not the error's."""
    if comparison.design.scale.sigma is None:
        return [x for x, _, _ in points], [y for _, y, _ in points]
    n = comparison.design.scale.n_elements
    curve = kl_curve([n * math.exp(x) for x, _, _ in points], [y for _, y, _ in points], [w for _, _, w in points])
    xs = np.linspace(points[0][0], points[-1][0], CURVE_POINTS)
    return xs.tolist(), curve(xs + math.log(n)).tolist()
