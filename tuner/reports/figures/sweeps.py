"""The figures of sweeps side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.reports.figures.pareto_front import label_of
from tuner.reports.figures.style import (
    Drawing,
    count_along_x,
    draw_expected,
    legend_above,
    log_scale,
    looks_of,
    style_axes,
    wide_figure,
)
from tuner.reports.figures.sweep import ended, error_of, middle_half

if TYPE_CHECKING:
    from tuner.comparison.finished_sweeps import FinishedSweeps


def progress_figure(beside: FinishedSweeps) -> Figure:
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


def planes_figure(beside: FinishedSweeps) -> Figure | None:
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


def best_of_n_figure(beside: FinishedSweeps) -> Figure | None:
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
            draw_expected(axes, name, expected, len(expected), looks[name].colour, looks[name].marker)
    legend_above(axes)
    return figure


FIGURES: dict[str, Drawing[[FinishedSweeps]]] = {
    "progress": Drawing(
        "The best so far over the epochs spent",
        "A step where a trial completed as the best of its sweep. Epochs count those of all trials, pruned ones too.",
        progress_figure,
    ),
    "plane": Drawing(
        "Error and KL of completed trials",
        "Further left reconstructs better, further down costs less KL, both on validation examples; large marks are "
        "the best trial of each sweep by the metric.",
        planes_figure,
    ),
    "quality": Drawing(
        "What n random trials buy",
        "The expected value of the best of n, with a 95 % band from bootstrapping; only of sweeps whose trials were "
        "drawn at random and never pruned. The metric selects and is reported: it flatters every sweep a little.",
        best_of_n_figure,
    ),
}
"""By file name; a figure with nothing to show is None."""
