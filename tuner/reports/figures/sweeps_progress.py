"""The best so far of each sweep over what it spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.reports.figures.pareto_front import label_of
from tuner.reports.figures.style import legend_above, style_axes, wide_figure
from tuner.reports.figures.sweeps_series import looks_of
from tuner.reports.figures.trials import middle_half

if TYPE_CHECKING:
    from tuner.comparison.finished_sweeps import Beside

__all__ = ["progress_figure"]


def progress_figure(beside: Beside) -> Figure:
    """A staircase for each sweep, from its first completed trial to its end."""
    figure, [axes] = wide_figure()
    style_axes(axes, "epochs of all trials", label_of(beside.metric))
    for name, look in looks_of(beside.sweeps).items():
        epochs, values = zip(*beside.progress[name], strict=True)
        axes.step(epochs, values, where="post", color=look.colour, linestyle=look.line, label=name)
        axes.plot(epochs[-1:], values[-1:], look.marker, color=look.colour, markersize=6)
    axes.set_ylim(*middle_half([value for found in beside.progress.values() for _, value in found]))
    axes.set_xlim(left=0)
    legend_above(axes)
    return figure
