"""The completed trials of sweeps between reconstruction and KL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.reports.figures.style import legend_above, log_scale, style_axes, wide_figure
from tuner.reports.figures.sweeps_series import looks_of
from tuner.reports.figures.trials import ended, error_of

if TYPE_CHECKING:
    from tuner.comparison.finished_sweeps import Beside

__all__ = ["planes_figure"]


def planes_figure(beside: Beside) -> Figure | None:
    """A mark for each completed trial, a large one for the best of each sweep."""
    error, named = error_of(list(beside.sweeps.values()))
    if not all({error, "val/kl"} <= beside.best(name).ranked.keys() for name in beside.sweeps):
        return None
    figure, [axes] = wide_figure()
    style_axes(axes, named, "KL  [nats per example]")
    for name, look in looks_of(beside.sweeps).items():
        lasts = [trial.ranked for trial in ended(beside.sweeps[name], ("completed",))]
        xs, ys = [last[error] for last in lasts], [last["val/kl"] for last in lasts]
        axes.plot(xs, ys, look.marker, color=look.colour, markersize=4.5, alpha=0.55, markeredgewidth=0, label=name)
        best = beside.best(name).ranked
        axes.plot([best[error]], [best["val/kl"]], look.marker, color=look.colour, markersize=11, fillstyle="none")
    if error == "val/mse":
        log_scale(axes, "x")
    axes.set_ylim(bottom=0)
    legend_above(axes)
    return figure
