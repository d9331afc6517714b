"""The trials of a search between reconstruction and KL."""

from __future__ import annotations

from matplotlib.figure import Figure

from search_spaces.space import Space
from tuner.reports.figures.style import legend_above, log_scale, style_axes, wide_figure
from tuner.reports.figures.trials import colours_of, ended, error_of, markers_of, marks
from tuner.sweeps.state import Sweep

__all__ = ["trials_plane_figure"]


def trials_plane_figure(sweep: Sweep, space: Space) -> Figure | None:
    """A mark for each completed trial, on validation data."""
    error, named = error_of([sweep])
    trials = [trial for trial in ended(sweep, ("completed",)) if {error, "val/kl"} <= trial.ranked.keys()]
    if len(trials) < 2:
        return None
    figure, [axes] = wide_figure()
    style_axes(axes, named, "KL  [nats per example]")
    colours, markers = colours_of(sweep), markers_of(sweep)
    for trial in trials:
        x, y, look = [trial.ranked[error]], [trial.ranked["val/kl"]], markers[trial.method]
        axes.plot(x, y, look, color=colours[trial.method], markersize=5, alpha=0.8)
    if error == "val/mse":
        log_scale(axes, "x")
    legend_above(axes, marks({trial.method for trial in trials}, colours, markers))
    return figure
