"""What trials ended with, dimension by dimension."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from search_spaces.space import Space
from tuner.reports.figures.pareto_front import label_of
from tuner.reports.figures.style import DPI, WIDTH, log_scale, style_axes
from tuner.reports.figures.trials import Axis, colours_of, ended, markers_of, marks, middle_half
from tuner.sweeps.state import Sweep, Trial

__all__ = ["slices_figure"]

COLUMNS = 2


def slices_figure(sweep: Sweep, space: Space) -> Figure | None:
    """A panel for each dimension: completed trials as filled marks, pruned ones pale."""
    trials, paths = ended(sweep), list(space.dimensions)
    if not trials or not paths:
        return None
    rows = math.ceil(len(paths) / COLUMNS)
    figure = Figure(figsize=(WIDTH, 0.5 + 2.2 * rows), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True).ravel()
    metric = sweep.header["metric"]
    for axes, path in zip(panels, paths, strict=False):
        _draw(axes, sweep, space, path, [trial for trial in trials if path in trial.assignment])
    figure.supylabel(label_of(metric), fontsize="medium")
    panels[0].set_ylim(*middle_half([trial.ranked[metric] for trial in trials]))
    legend = marks(colours_of(sweep), colours_of(sweep), markers_of(sweep))
    figure.legend(handles=legend, loc="outside upper right", ncols=4, frameon=False, fontsize="small")
    for axes in panels[len(paths) :]:
        axes.set_visible(False)
    return figure


def _draw(axes: Axes, sweep: Sweep, space: Space, path: str, trials: list[Trial]) -> None:
    style_axes(axes, path, "")
    axis, metric = Axis(space, path), sweep.header["metric"]
    colours, markers = colours_of(sweep), markers_of(sweep)
    for trial in trials:
        alpha = 0.9 if trial.stop_reason == "completed" else 0.3
        x, look = axis.numbers([trial.assignment[path]]), markers[trial.method]
        axes.plot(x, [trial.ranked[metric]], look, color=colours[trial.method], alpha=alpha, markersize=5)
    if axis.ticks:
        axes.set_xticks(range(len(axis.ticks)), axis.ticks, rotation=20, ha="right")
    elif axis.log:
        log_scale(axes, "x")
