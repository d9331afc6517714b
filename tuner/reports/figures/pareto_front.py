"""A Pareto front as a picture: all trials, coloured by method, and the line no trial is beyond."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from trainables.errors import UserError
from tuner.reports.figures.style import DECADE, looks_of, style_axes, wide_figure
from tuner.sweeps.metrics import direction_of

if TYPE_CHECKING:
    from tuner.tracking.best import Front

UNITS = {
    "mse": "squared error per element",
    "mse_mean_z": "squared error per element",
    "active_units": "latents",
    "epoch_s": "s",
    "samples_per_s": "1/s",
}


def draw(front: Front, path: Path) -> None:
    """Write a PNG: the first metric across, each other one above it in a panel of its own.

    The staircase bounds what the trials of the front reach; over more than two metrics a pair has none, and the front
    is marked only. Raises UserError where the file cannot be written.
    """
    figure, panels = wide_figure(len(front.metrics) - 1)
    for column, axes in enumerate(panels, start=1):
        _draw_panel(axes, front, column)
    panels[-1].legend(frameon=False, fontsize=9)
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}; name a file in an existing folder") from None


def label_of(metric: str) -> str:
    """A metric's name, its unit, and which way is better; on an upright axis the arrow turns with the text."""
    better = "better →" if direction_of(metric) == "max" else "← better"
    return f"{metric}  [{UNITS.get(metric.rpartition('/')[2], 'nats per example')}]  {better}"


def staircase(ends: Sequence[tuple[float, float]], directions: tuple[str, str]) -> list[tuple[float, float]]:
    """The points of a front in order, between any two of them the corner that is as bad as the worse of both."""
    across, up = (max if direction == "min" else min for direction in directions)
    corners = [(across(a[0], b[0]), up(a[1], b[1])) for a, b in pairwise(ends)]
    return [point for step in zip(ends, corners, strict=False) for point in step] + list(ends[-1:])


def _draw_panel(axes: Axes, front: Front, column: int) -> None:
    for method, look in looks_of(sorted(front.cloud)).items():
        across, up = ([point[at] for point in front.cloud[method]] for at in (0, column))
        axes.scatter(across, up, 18, look.colour, marker=look.marker, alpha=0.7, linewidths=0, label=method)
    across_name, up_name = front.metrics[0], front.metrics[column]
    ends = sorted((row.metrics[across_name], row.metrics[up_name]) for row in front.rows)
    if len(front.metrics) == 2:
        steps = staircase(ends, (direction_of(across_name), direction_of(up_name)))
        axes.plot([x for x, _ in steps], [y for _, y in steps], color="black", linewidth=1, zorder=1)
    label = f"Pareto set: {len(ends)} trials"
    axes.scatter([x for x, _ in ends], [y for _, y in ends], 60, "none", edgecolors="black", linewidths=1, label=label)
    style_axes(axes, label_of(across_name), label_of(up_name))
    axes.set_xscale(_scale([point[0] for points in front.cloud.values() for point in points]))
    axes.set_yscale(_scale([point[column] for points in front.cloud.values() for point in points]))


def _scale(values: Sequence[float]) -> str:
    """Logarithmic where positive values span more than a decade."""
    return "log" if 0 < DECADE * min(values) < max(values) else "linear"
