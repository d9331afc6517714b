"""The figures of a comparison, each a function of it: GECO's paper on the user's data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tuner.comparison.design import PLAIN
from tuner.comparison.final_loss import MARGIN, means_by_seed
from tuner.comparison.frontier import BASELINE, Point, curve_through, path_points, place
from tuner.comparison.statistics import most_trusted
from tuner.reports.figures.comparison_runs import (
    kl_by_latent_figure,
    over_training_figure,
    schedules_figure,
    trajectory_figure,
)
from tuner.reports.figures.method_looks import by_method, colour_of, marker_of
from tuner.reports.figures.style import Drawing, count_along_x, draw_expected, legend_above, style_axes, wide_figure
from tuner.sweeps.metrics import direction_of

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison


def target_chance_figure(comparison: Comparison) -> Figure:
    """A line for each method."""
    figure, [axes] = wide_figure()
    style_axes(axes, "random trials n", f"chance that one hits κ* = {comparison.target.kappa:.3g}")
    count_along_x(axes)
    for method, chances in comparison.target.chance.items():
        hits, n = comparison.target.hits[method]
        label = f"{method} {hits}/{n}"
        ns = range(1, len(chances) + 1)
        axes.plot(ns, chances, color=colour_of(method), marker=marker_of(method), markersize=4, label=label)
    axes.set_ylim(-0.03, 1.03)
    legend_above(axes, title="hits among all trials")
    return figure


def path_differences_figure(comparison: Comparison) -> Figure | None:
    """Mean and 95 % interval for each rival, over single seeds and single levels."""
    results = comparison.path.rivals
    if not results:
        return None
    from tuner.comparison.final_loss import differences

    found = differences(comparison.path.table, [result.rival for result in results])
    figure, [axes] = wide_figure()
    figure.set_figheight(1.5 + 0.7 * len(results))
    style_axes(axes, "J of GECO − J of the rival  [nats per example]\n← GECO lower · GECO higher →", "")
    axes.axvspan(-MARGIN, MARGIN, color="0.5", alpha=0.12, linewidth=0, label=f"equivalent: ±{MARGIN:g} nat")
    axes.axvline(0, color="0.4", linewidth=0.8)
    for row, result in enumerate(reversed(results)):
        colour = colour_of(result.rival)
        values = means_by_seed(found[result.rival])
        levels = [level.mean for level in result.levels]
        axes.plot(values, [row - 0.22] * len(values), "|", color=colour, markersize=8, label=_once("one seed", row))
        axes.plot(levels, [row + 0.22] * len(levels), "d", color=colour, markersize=4, label=_once("one level", row))
        axes.plot([result.lo, result.hi], [row, row], color=colour, linewidth=2, label=_once("95 % interval", row))
        axes.plot([result.mean], [row], "o", color=colour, markersize=7)
    axes.set_yticks(range(len(results)), [f"{each.rival}\n{each.verdict}" for each in reversed(results)])
    axes.set_ylim(-0.6, len(results) - 0.4)
    legend_above(axes)
    return figure


def _once(label: str, row: int) -> str | None:
    return None if row else label


CURVE_POINTS = 200
CURVES = {"geco": "-", BASELINE: "--"}


def information_plane_figure(comparison: Comparison) -> Figure | None:
    """Test KL over test error: of the path's runs the mean over seeds at each level, of the pools every trial, of the
    plain ELBO each seed."""
    path, pools = by_method(comparison.trained["path"]), by_method(comparison.trained["pool"])
    if not path and not pools:
        return None
    figure, [axes] = wide_figure()
    gaussian = comparison.design.scale.sigma is not None
    name = "ln of the squared error per element" if gaussian else "reconstruction  [nats per example]"
    style_axes(axes, f"{name}, on test images", "KL  [nats per example]")
    for method, trained in pools.items():
        small = [place(comparison.design, each.test) for each in trained]
        _draw_points(axes, method, small, alpha=0.45, markersize=4, markeredgewidth=0)
    for method in dict.fromkeys([*path, *pools]):
        _draw_method(axes, comparison, method)
    plain = comparison.design.best_plain(comparison.trained["plain"])
    if plain:
        points = [place(comparison.design, each.test) for each in plain]
        _draw_points(axes, PLAIN, points, markersize=7, label=f"{PLAIN} (β = 1)")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small", title="large: path at λ̂ · small: pools", title_fontsize="small")
    return figure


def _draw_method(axes: Axes, comparison: Comparison, method: str) -> None:
    points = path_points(comparison.design, comparison.levels, comparison.trained["path"], method)
    _draw_points(axes, method, points, markersize=8, label=method)
    if method in CURVES and len(points) > 1:
        xs = np.linspace(points[0].across, points[-1].across, CURVE_POINTS)
        curve = curve_through(comparison.design, points)
        axes.plot(xs, curve(xs), CURVES[method], color=colour_of(method), linewidth=1.4)


def _draw_points(axes: Axes, method: str, points: list[Point], **style: object) -> None:
    xs, ys = [point.across for point in points], [point.kl for point in points]
    axes.plot(xs, ys, marker_of(method), color=colour_of(method), **style)  # type: ignore[arg-type]


def expected_best_figure(comparison: Comparison) -> Figure:
    """A line for each method, with its band as far as that can be trusted."""
    figure, [axes] = wide_figure()
    metric = comparison.metric
    better = "higher" if direction_of(metric) == "max" else "lower"
    style_axes(axes, "random trials n", f"{metric.replace('val/', 'test/')} of the best\n[nats, {better} is better]")
    count_along_x(axes)
    for answer in comparison.quality:
        colour, marker = colour_of(answer.method), marker_of(answer.method)
        draw_expected(axes, answer.method, answer.expected, most_trusted(answer.n), colour, marker)
    axes.set_ylim(*_heights(comparison))
    legend_above(axes)
    return figure


def _heights(comparison: Comparison) -> tuple[float, float]:
    """What holds the lines and their bands, but for a single trial's, which dwarfs the rest."""
    low, high = [], []
    for answer in comparison.quality:
        trusted = most_trusted(answer.n)
        for found in answer.expected[min(1, len(answer.expected) - 1) :]:
            low.append(found.lo if found.n <= trusted else found.mean)
            high.append(found.hi if found.n <= trusted else found.mean)
    room = 0.05 * (max(high) - min(low)) or 0.5
    return min(low) - room, max(high) + room


FIGURES: dict[str, Drawing[[Comparison]]] = {
    "path": Drawing(
        "GECO's final loss J minus each rival's",
        "Left of 0 GECO ended lower. Dots are means over seeds and levels, bars their 95 % intervals, strokes single "
        "seeds; a bar well inside the gray band is too small a difference to matter.",
        path_differences_figure,
    ),
    "plane": Drawing(
        "The information plane: what each method pays in KL for its error",
        "Further left reconstructs better, further down costs less KL: the lower curve is the better method. Large "
        "marks are the runs of Q1, averaged over seeds at each level; lines tie levels, with the slope that λ̂ gives "
        "them. Small pale marks are Q2's random trials.",
        information_plane_figure,
    ),
    "quality": Drawing(
        "What n random trials buy",
        "The expected test value of the trial that validation selects among n, with a 95 % band from bootstrapping the "
        "pool. A curve that rises early needs little search.",
        expected_best_figure,
    ),
    "target": Drawing(
        "The chance that one of n trials meets the target",
        "The sooner a curve nears 1, the fewer trials the method needs to keep to κ* at a KL near the best known.",
        target_chance_figure,
    ),
    "training": Drawing(
        "KL and error over training, of runs that end at the same λ̂",
        "One seed at the middle level, on validation images: where errors meet, the lower KL is the better path.",
        over_training_figure,
    ),
    "trajectory": Drawing(
        "One GECO run over its steps",
        "Above, from dark to bright, its way through error and KL of training batches, every tenth step; below, the β "
        "that weighs as its multiplier does, and the error that κ bounds, as a moving average. GECO first buys a low "
        "error, then trades what is left over for a lower KL along the dotted line.",
        trajectory_figure,
    ),
    "latents": Drawing(
        "How much each latent carries",
        "The KL of each latent on test images, one run of each method at the middle level. Latents near 0 are unused.",
        kl_by_latent_figure,
    ),
    "schedules": Drawing(
        "The weights, bounds and learning rates that were used",
        "At the end of each epoch, for the runs above. Right, the same curves as λ; a β of 0 has no place on this "
        "axis. All methods end at one λ̂.",
        schedules_figure,
    ),
}
"""By file name; a figure of what was not trained is None."""
