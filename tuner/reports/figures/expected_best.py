"""Q2 as a picture: the expected test value of the best of n trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.comparison.statistics import most_trusted
from tuner.reports.figures.method_looks import colour_of, marker_of
from tuner.reports.figures.style import count_along_x, legend_above, style_axes, wide_figure
from tuner.sweeps.metrics import direction_of

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["expected_best_figure"]


def expected_best_figure(comparison: Comparison) -> Figure:
    """A line for each method, with its band as far as that can be trusted."""
    figure, [axes] = wide_figure()
    metric = comparison.metric
    better = "higher" if direction_of(metric) == "max" else "lower"
    style_axes(axes, "random trials n", f"{metric.replace('val/', 'test/')} of the best\n[nats, {better} is better]")
    count_along_x(axes)
    for answer in comparison.quality:
        ns = [found.n for found in answer.expected]
        colour = colour_of(answer.method)
        trusted = answer.expected[: most_trusted(answer.n)]
        lo, hi = [found.lo for found in trusted], [found.hi for found in trusted]
        axes.fill_between(ns[: len(trusted)], lo, hi, color=colour, alpha=0.12, linewidth=0)
        means = [found.mean for found in answer.expected]
        axes.plot(ns, means, color=colour, marker=marker_of(answer.method), markersize=4, label=answer.method)
    axes.set_ylim(*_heights(comparison))
    legend_above(axes)
    return figure


def _heights(comparison: Comparison) -> tuple[float, float]:
    """What holds the lines and their bands, but for a single trial's, which dwarfs the rest."""
    low, high = [], []
    for answer in comparison.quality:
        trusted = most_trusted(answer.n)
        for found in answer.expected[min(1, len(answer.expected) - 1) :]:
            low.append(found.lo if found.n <= trusted else found.mean)
            high.append(found.hi if found.n <= trusted else found.mean)
    room = 0.05 * (max(high) - min(low)) or 0.5
    return min(low) - room, max(high) + room
