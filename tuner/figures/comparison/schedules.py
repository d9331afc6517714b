"""The weights and learning rates that the compared runs used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.figures.comparison.series import by_method, colour_of, middle_level
from tuner.figures.style import count_along_x, log_scale, style_axes, wide_figure

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["schedules_figure"]


def schedules_figure(comparison: Comparison) -> Figure | None:
    """β and the learning rate at the end of each epoch, of the first seed at the middle level."""
    runs = by_method(middle_level(comparison.trained["path"]))
    if not runs:
        return None
    figure, [left, right] = wide_figure(2)
    style_axes(left, "epoch", "β; under GECO the β that weighs as λ does")
    style_axes(right, "epoch", "learning rate")
    for axes in (left, right):
        count_along_x(axes)
    for method, trained in runs.items():
        history = [metrics for metrics in trained[0].history if "schedule/beta" in metrics]
        epochs = [metrics["epoch"] for metrics in history]
        for axes, name in ((left, "schedule/beta"), (right, "schedule/lr")):
            axes.plot(epochs, [metrics[name] for metrics in history], color=colour_of(method), label=method)
    if left.dataLim.ymin > 0:
        log_scale(left, "y")
    else:
        left.set_yscale("symlog", linthresh=0.01)
    right.set_ylim(bottom=0)
    right.legend(frameon=False, fontsize="small")
    return figure
