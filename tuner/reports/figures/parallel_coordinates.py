"""Every trial as a line through its choices."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from search_spaces.space import Space
from tuner.reports.figures.style import BLUE, DPI, WIDTH
from tuner.reports.figures.trials import Axis, ended
from tuner.sweeps.metrics import rank_key
from tuner.sweeps.state import Sweep

__all__ = ["parallel_coordinates_figure"]


def parallel_coordinates_figure(sweep: Sweep, space: Space) -> Figure | None:
    """One axis below the other for each dimension, each over the range that was drawn; a trial skips what it does not
    have."""
    trials, paths = ended(sweep), list(space.dimensions)
    if len(trials) < 2 or len(paths) < 2:
        return None
    metric, direction = sweep.header["metric"], sweep.header["direction"]
    order = sorted(trials, key=lambda trial: rank_key(trial.ranked[metric], direction, trial.id), reverse=True)
    figure = Figure(figsize=(WIDTH, 0.4 + 0.8 * len(paths)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    scales = {path: _Scale(sweep, space, path) for path in paths}
    for rank, trial in enumerate(order):
        points = [(scales[p].place(trial.assignment[p]), i) for i, p in enumerate(paths) if p in trial.assignment]
        if points:
            shade = rank / max(1, len(order) - 1)
            axes.plot(*zip(*points, strict=True), color=BLUE, alpha=0.08 + 0.8 * shade**3, linewidth=0.8 + shade)
    for i, path in enumerate(paths):
        axes.axhline(i, color="0.5", linewidth=0.8)
        for x, text in ((0.0, scales[path].low), (1.0, scales[path].high)):
            axes.text(x, i + 0.1, text, ha="right" if x else "left", va="top", fontsize="small")
    axes.set_yticks(range(len(paths)), paths)
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(len(paths) - 0.5, -0.3)
    axes.spines[:].set_visible(False)
    return figure


class _Scale:
    """From a dimension's values to 0 … 1."""

    def __init__(self, sweep: Sweep, space: Space, path: str) -> None:
        self._axis = Axis(space, path)
        drawn = [trial.assignment[path] for trial in sweep.trials.values() if path in trial.assignment]
        numbers = self._numbers(drawn) if drawn else np.zeros(1)
        self._low, self._high = float(numbers.min()), float(numbers.max())
        self.low, self.high = (self._text(value) for value in (self._low, self._high))

    def _numbers(self, values: list[object]) -> NDArray[np.float64]:
        found = self._axis.numbers(values)
        return np.log(found) if self._axis.log else found

    def _text(self, value: float) -> str:
        if self._axis.ticks:
            return self._axis.ticks[int(value)]
        return f"{np.exp(value) if self._axis.log else value:.3g}"

    def place(self, value: object) -> float:
        """Where a value lies between the extremes."""
        width = self._high - self._low
        return 0.5 if width == 0 else float((self._numbers([value])[0] - self._low) / width)
