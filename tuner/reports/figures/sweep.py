"""The figures of a search: how its trials learned, and which of what varied mattered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from search_spaces.domains import Choice, Float
from search_spaces.space import Space
from search_spaces.values import word
from trainables.grouping import grouped
from tuner.reports.figures.pareto_front import label_of
from tuner.reports.figures.style import (
    BLUE,
    DPI,
    WIDTH,
    Drawing,
    Look,
    count_along_x,
    legend_above,
    log_scale,
    looks_of,
    style_axes,
    wide_figure,
)
from tuner.sweeps.metrics import is_usable, rank_key
from tuner.sweeps.state import Sweep, Trial


def trials_plane_figure(sweep: Sweep, space: Space) -> Figure | None:
    """A mark for each completed trial, on validation data."""
    error, named = error_of([sweep])
    trials = [trial for trial in ended(sweep, ("completed",)) if {error, "val/kl"} <= trial.ranked.keys()]
    if len(trials) < 2:
        return None
    figure, [axes] = wide_figure()
    style_axes(axes, named, "KL  [nats per example]")
    looks = methods_looks(sweep)
    for trial in trials:
        x, y, look = [trial.ranked[error]], [trial.ranked["val/kl"]], looks[trial.method]
        axes.plot(x, y, look.marker, color=look.colour, markersize=5, alpha=0.8)
    if error == "val/mse":
        log_scale(axes, "x")
    legend_above(axes, marks({trial.method for trial in trials}, looks))
    return figure


MARGIN = 0.04


def ended(sweep: Sweep, reasons: Sequence[str] = ("completed", "pruned")) -> list[Trial]:
    """The configurations whose trials ended so, with a value."""
    metric = sweep.header["metric"]
    found = [trial for trial in sweep.configurations.values() if trial.stop_reason in reasons]
    return [trial for trial in found if is_usable(trial.ranked.get(metric, math.nan))]


def methods_looks(sweep: Sweep) -> dict[str, Look]:
    """The look of each method; GECO comes first, and looks the same on every page."""
    return looks_of(sorted({trial.method for trial in sweep.trials.values()}, key=lambda name: (name != "geco", name)))


def marks(methods: Iterable[str], looks: Mapping[str, Look]) -> list[Line2D]:
    """What the marks of each look like, for a legend."""
    return [
        Line2D([], [], linestyle="", marker=looks[method].marker, color=looks[method].colour, label=method)
        for method in sorted(methods)
    ]


def error_of(sweeps: Sequence[Sweep]) -> tuple[str, str]:
    """How reconstruction is measured in all of these sweeps' trials, and what an axis calls it."""
    lasts = [trial.ranked for sweep in sweeps for trial in ended(sweep)]
    if all("val/mse" in last for last in lasts):
        return "val/mse", "squared error per element"
    return "val/recon_nll", "reconstruction  [nats per example]"


def middle_half(values: Sequence[float]) -> tuple[float, float]:
    """Limits that show the better three quarters and a margin: trials that fell far behind leave the picture."""
    found = np.asarray(values, dtype=np.float64)
    low, high = np.percentile(found, [25, 75])
    reach = max(high - low, 1e-9)
    bottom, top = max(found.min(), low - 1.5 * reach), min(found.max(), high + 1.5 * reach)
    margin = MARGIN * max(top - bottom, 1e-9)
    return float(bottom - margin), float(top + margin)


class Axis:
    """A dimension as numbers. ticks: the options of a choice, by number; none for a range."""

    def __init__(self, space: Space, path: str) -> None:
        self._domain = space.dimensions[path]
        self.log = isinstance(self._domain, Float) and self._domain.log
        self.ticks = list(map(word, self._domain.options)) if isinstance(self._domain, Choice) else []

    def numbers(self, values: Sequence[object]) -> NDArray[np.float64]:
        """The values as numbers; of a choice the numbers of its options."""
        if isinstance(self._domain, Choice):
            return np.array([self._domain.place(value) for value in values], dtype=np.float64)
        return np.array(values, dtype=np.float64)


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
    legend = marks(methods_looks(sweep), methods_looks(sweep))
    figure.legend(handles=legend, loc="outside upper right", ncols=4, frameon=False, fontsize="small")
    for axes in panels[len(paths) :]:
        axes.set_visible(False)
    return figure


def _draw(axes: Axes, sweep: Sweep, space: Space, path: str, trials: list[Trial]) -> None:
    style_axes(axes, path, "")
    axis, metric = Axis(space, path), sweep.header["metric"]
    looks = methods_looks(sweep)
    for trial in trials:
        alpha = 0.9 if trial.stop_reason == "completed" else 0.3
        x, look = axis.numbers([trial.assignment[path]]), looks[trial.method]
        axes.plot(x, [trial.ranked[metric]], look.marker, color=look.colour, alpha=alpha, markersize=5)
    if axis.ticks:
        axes.set_xticks(range(len(axis.ticks)), axis.ticks, rotation=20, ha="right")
    elif axis.log:
        log_scale(axes, "x")


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


def learning_curves_figure(sweep: Sweep, space: Space) -> Figure | None:
    """The metric of every trial over its epochs; rungs as dotted lines, pruned trials pale."""
    trials = ended(sweep)
    if not trials:
        return None
    metric = sweep.header["metric"]
    figure, [axes] = wide_figure()
    style_axes(axes, "epoch", label_of(metric))
    count_along_x(axes)
    looks, named = methods_looks(sweep), set()
    for trial in trials:
        points = [(report.epoch, report.metrics[metric]) for report in trial.reports if metric in report.metrics]
        alpha = 0.85 if trial.stop_reason == "completed" else 0.3
        axes.plot(*zip(*points, strict=True), color=looks[trial.method].colour, alpha=alpha, linewidth=1.1)
        named.add(trial.method)
    for rung in sweep.header.get("rungs", ()):
        axes.axvline(rung, color="0.5", linewidth=0.8, linestyle=":")
    values = [report.metrics[metric] for trial in trials for report in trial.reports if metric in report.metrics]
    axes.set_ylim(*middle_half(values))
    legend_above(axes, [Line2D([], [], color=looks[method].colour, label=method) for method in sorted(named)])
    return figure


FEWEST_TRIALS = 4


def importances(sweep: Sweep, space: Space) -> dict[str, float]:
    """By dimension that every completed trial has, its share of what separates the better from the rest (PED-ANOVA,
    Watanabe et al. 2023, arXiv 2304.10255); empty where too few have completed, and of
    given trials, which no search drew."""
    from tuner.search.optuna_study import study_of

    common = [path for path in space.active({}) if len({str(t.assignment.get(path)) for t in _completed(sweep)}) > 1]
    if not sweep.header["space"] or len(_completed(sweep)) < FEWEST_TRIALS or len(common) < 2:
        return {}
    study = study_of(sweep, space, optuna.samplers.RandomSampler(seed=0))
    found = optuna.importance.get_param_importances(study, params=common)
    return {path: float(share) for path, share in found.items()}


def importance_figure(sweep: Sweep, space: Space) -> Figure | None:
    """A bar for each dimension."""
    found = importances(sweep, space)
    if not found:
        return None
    figure, [axes] = wide_figure()
    style_axes(axes, "share", "")
    figure.set_figheight(0.9 + 0.4 * len(found))
    paths = list(found)[::-1]
    axes.barh(paths, [found[path] for path in paths], color=BLUE, height=0.6)
    axes.set_xlim(0, 1)
    return figure


def _completed(sweep: Sweep) -> list[Trial]:
    return ended(sweep, ("completed",))


WIDE = 10.0  # the ratio from which a range is shown logarithmically


def space_of(sweep: Sweep) -> Space:
    """The space that was searched; of given trials each field over the values that they have."""
    searched = Space.parse(sweep.header["space"])
    if searched.dimensions:
        return searched
    values = grouped(choice for trial in sweep.trials.values() for choice in trial.assignment.items())
    return Space.parse({path: _dimension(found) for path, found in values.items() if len(set(map(str, found))) > 1})


def _dimension(values: list[Any]) -> dict[str, Any]:
    distinct = list(dict.fromkeys(values))
    if all(isinstance(value, float) for value in distinct):
        low, high = min(distinct), max(distinct)
        return {"float": [low, high], "log": 0 < WIDE * low <= high}
    return {"choice": sorted(distinct) if all(isinstance(value, int) for value in distinct) else distinct}


FIGURES: dict[str, Drawing[[Sweep, Space]]] = {
    "curves": Drawing(
        "How trials learned",
        "What trials were compared by, after each epoch; pruned trials are pale, and dotted lines are the rungs at "
        "which they were compared. Trials that fell far behind leave the picture.",
        learning_curves_figure,
    ),
    "importance": Drawing(
        "What mattered",
        "How much of what separates the best trials from the rest each dimension explains. Shares of few trials are "
        "uncertain.",
        importance_figure,
    ),
    "slices": Drawing(
        "What trials ended with, over each dimension",
        "Look for where the best marks lie: at the edge of a range, the range was too narrow; spread evenly, the "
        "dimension hardly matters. Pruned trials are pale, at the value they were stopped with.",
        slices_figure,
    ),
    "parallel": Drawing(
        "Every trial as a line through its choices",
        "Dark lines are the best trials: where they run together, the search has made up its mind.",
        parallel_coordinates_figure,
    ),
    "plane": Drawing(
        "Error and KL of each trial",
        "Further left reconstructs better, further down costs less KL: what no mark is left of and below is the front.",
        trials_plane_figure,
    ),
}
"""By file name; a figure with too little to show is None."""
