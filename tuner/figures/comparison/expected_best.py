"""Q2 as a picture: the expected test value of the best of n trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.figures.comparison.series import colour_of, marker_of
from tuner.figures.style import count_along_x, legend_above, style_axes, wide_figure
from tuner.queries.metrics_info import direction_of

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["expected_best_figure"]


def expected_best_figure(comparison: Comparison) -> Figure:
    """A line for each method with its 95 % band."""
    figure, [axes] = wide_figure()
    metric = comparison.metric
    better = "higher" if direction_of(metric) == "max" else "lower"
    style_axes(axes, "random trials n", f"{metric.replace('val/', 'test/')} of the best\n[nats, {better} is better]")
    count_along_x(axes)
    for answer in comparison.quality:
        ns = [found.n for found in answer.expected]
        colour = colour_of(answer.method)
        axes.fill_between(
            ns, [e.lo for e in answer.expected], [e.hi for e in answer.expected], color=colour, alpha=0.12, linewidth=0
        )
        means = [found.mean for found in answer.expected]
        axes.plot(ns, means, color=colour, marker=marker_of(answer.method), markersize=4, label=answer.method)
    best = [found for answer in comparison.quality for found in answer.expected[1:]] or [
        found for answer in comparison.quality for found in answer.expected
    ]
    low, high = min(found.lo for found in best), max(found.hi for found in best)
    axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    legend_above(axes)
    return figure
