"""How trials learned."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from search_spaces.space import Space
from tuner.reports.figures.pareto_front import label_of
from tuner.reports.figures.style import count_along_x, legend_above, style_axes, wide_figure
from tuner.reports.figures.trials import colours_of, ended, middle_half
from tuner.sweeps.state import Sweep

__all__ = ["learning_curves_figure"]


def learning_curves_figure(sweep: Sweep, space: Space) -> Figure | None:
    """The metric of every trial over its epochs; rungs as dotted lines, pruned trials pale."""
    trials = ended(sweep)
    if not trials:
        return None
    metric = sweep.header["metric"]
    figure, [axes] = wide_figure()
    style_axes(axes, "epoch", label_of(metric))
    count_along_x(axes)
    colours, named = colours_of(sweep), set()
    for trial in trials:
        points = [(report.epoch, report.metrics[metric]) for report in trial.reports if metric in report.metrics]
        alpha = 0.85 if trial.stop_reason == "completed" else 0.3
        axes.plot(*zip(*points, strict=True), color=colours[trial.method], alpha=alpha, linewidth=1.1)
        named.add(trial.method)
    for rung in sweep.header.get("rungs", ()):
        axes.axvline(rung, color="0.5", linewidth=0.8, linestyle=":")
    values = [report.metrics[metric] for trial in trials for report in trial.reports if metric in report.metrics]
    axes.set_ylim(*middle_half(values))
    legend_above(axes, [Line2D([], [], color=colours[method], label=method) for method in sorted(named)])
    return figure
