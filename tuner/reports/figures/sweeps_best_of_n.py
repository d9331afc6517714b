"""What n random trials of each sweep are expected to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.reports.figures.pareto_front import label_of
from tuner.reports.figures.style import count_along_x, legend_above, style_axes, wide_figure
from tuner.reports.figures.sweeps_series import looks_of

if TYPE_CHECKING:
    from tuner.comparison.finished_sweeps import Beside

__all__ = ["best_of_n_figure"]


def best_of_n_figure(beside: Beside) -> Figure | None:
    """A line with its 95 % band for each sweep of random, unpruned trials."""
    found = {name: beside.expected(name) for name in beside.sweeps}
    if not any(found.values()):
        return None
    figure, [axes] = wide_figure()
    style_axes(axes, "random trials n", label_of(beside.metric))
    count_along_x(axes)
    looks = looks_of(beside.sweeps)
    for name, expected in found.items():
        if expected:
            ns, look = [each.n for each in expected], looks[name]
            lo, hi = [each.lo for each in expected], [each.hi for each in expected]
            axes.fill_between(ns, lo, hi, color=look.colour, alpha=0.12, linewidth=0)
            means = [each.mean for each in expected]
            axes.plot(ns, means, color=look.colour, marker=look.marker, markersize=4, label=name)
    legend_above(axes)
    return figure
