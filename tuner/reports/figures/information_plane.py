"""Fig. 4 of "Taming VAEs" on the user's data: KL over error, the levels of GECO and of constant β tied by lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tuner.comparison.design import PLAIN
from tuner.comparison.frontier import Point, curve_through, path_points, place
from tuner.comparison.placing import BASELINE
from tuner.reports.figures.method_looks import by_method, colour_of, marker_of
from tuner.reports.figures.style import style_axes, wide_figure

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["information_plane_figure"]

CURVE_POINTS = 200
CURVES = {"geco": "-", BASELINE: "--"}


def information_plane_figure(comparison: Comparison) -> Figure | None:
    """Test KL over test error: of the path's runs the mean over seeds at each level, of the pools every trial, of the
    plain ELBO each seed."""
    path, pools = by_method(comparison.trained["path"]), by_method(comparison.trained["pool"])
    if not path and not pools:
        return None
    figure, [axes] = wide_figure()
    gaussian = comparison.design.scale.sigma is not None
    name = "ln of the squared error per element" if gaussian else "reconstruction  [nats per example]"
    style_axes(axes, f"{name}, on test images", "KL  [nats per example]")
    for method, trained in pools.items():
        small = [place(comparison.design, each.test) for each in trained]
        _draw_points(axes, method, small, alpha=0.45, markersize=4, markeredgewidth=0)
    for method in dict.fromkeys([*path, *pools]):
        _draw_method(axes, comparison, method)
    plain = comparison.design.best_plain(comparison.trained["plain"])
    if plain:
        points = [place(comparison.design, each.test) for each in plain]
        _draw_points(axes, PLAIN, points, markersize=7, label=f"{PLAIN} (β = 1)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small", title="large: path at λ̂ · small: pools", title_fontsize="small")
    return figure


def _draw_method(axes: Axes, comparison: Comparison, method: str) -> None:
    points = path_points(comparison.design, comparison.levels, comparison.trained["path"], method)
    _draw_points(axes, method, points, markersize=8, label=method)
    if method in CURVES and len(points) > 1:
        xs = np.linspace(points[0].across, points[-1].across, CURVE_POINTS)
        curve = curve_through(comparison.design, points)
        axes.plot(xs, curve(xs), CURVES[method], color=colour_of(method), linewidth=1.4)


def _draw_points(axes: Axes, method: str, points: list[Point], **style: object) -> None:
    xs, ys = [point.across for point in points], [point.kl for point in points]
    axes.plot(xs, ys, marker_of(method), color=colour_of(method), **style)  # type: ignore[arg-type]
