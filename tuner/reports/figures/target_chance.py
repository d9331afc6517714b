"""Q3 as a picture: the chance that one of n trials keeps to κ* at a KL near the best known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.reports.figures.method_looks import colour_of, marker_of
from tuner.reports.figures.style import count_along_x, legend_above, style_axes, wide_figure

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["target_chance_figure"]


def target_chance_figure(comparison: Comparison) -> Figure:
    """A line for each method."""
    figure, [axes] = wide_figure()
    style_axes(axes, "random trials n", f"chance that one hits κ* = {comparison.target.kappa:.3g}")
    count_along_x(axes)
    for method, chances in comparison.target.chance.items():
        hits, n = comparison.target.hits[method]
        label = f"{method} {hits}/{n}"
        ns = range(1, len(chances) + 1)
        axes.plot(ns, chances, color=colour_of(method), marker=marker_of(method), markersize=4, label=label)
    axes.set_ylim(-0.03, 1.03)
    legend_above(axes, title="hits among all trials")
    return figure
