"""The weights, bounds and learning rates that the compared runs used."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from tuner.reports.figures.method_looks import by_method, look_of, middle_level
from tuner.reports.figures.style import count_along_x, legend_above, log_scale, round_ticks, stacked_figure, style_axes

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison
    from tuner.comparison.design import Trained

__all__ = ["equivalent_beta", "schedules_figure"]


def equivalent_beta(metrics: Mapping[str, float], sigma: float | None) -> float:
    """The constant β that would weigh as what an epoch used: (σ_eq/σ)²; under bits 1/λ. sigma: the pixel σ, or None."""
    if sigma is None or "schedule/sigma_eq" not in metrics:
        return metrics["schedule/beta"]
    return (metrics["schedule/sigma_eq"] / sigma) ** 2


def schedules_figure(comparison: Comparison) -> Figure | None:
    """β and λ, κ with the error it bounds, and the learning rate at the end of each epoch, of the first seed at the
    middle level."""
    runs = by_method(middle_level(comparison.trained["path"]))
    if not runs:
        return None
    figure, [weights, bound, rates] = stacked_figure(3)
    sigma = comparison.design.scale.sigma
    for method, trained in runs.items():
        history = [metrics for metrics in trained[0].history if "schedule/beta" in metrics]
        epochs = [metrics["epoch"] for metrics in history]
        betas = [equivalent_beta(metrics, sigma) or math.nan for metrics in history]
        weights.plot(epochs, betas, label=method, **look_of(method))
        rates.plot(epochs, [metrics["schedule/lr"] for metrics in history], **look_of(method))
    _draw_weights(weights, sigma)
    _draw_bound(bound, runs.get("geco", []), gaussian=sigma is not None)
    style_axes(rates, "epoch", "learning rate")
    rates.set_ylim(bottom=0)
    for axes in (weights, bound, rates):
        count_along_x(axes)
    return figure


def _draw_weights(axes: Axes, sigma: float | None) -> None:
    """λ on the right is the same curve read the other way: β = 1/(2λσ²), under bits 1/λ."""
    style_axes(axes, "epoch", "β")
    log_scale(axes, "y")
    scale = 1.0 if sigma is None else 2 * sigma**2

    def other(values: ArrayLike) -> NDArray[np.float64]:
        with np.errstate(divide="ignore"):
            return np.asarray(1 / (scale * np.asarray(values, dtype=np.float64)))

    right = axes.secondary_yaxis("right", functions=(other, other))
    right.set_ylabel("λ")
    low, high = other(axes.get_ylim())
    round_ticks(right.yaxis, low, high)
    legend_above(axes)


def _draw_bound(axes: Axes, geco: Sequence[Trained], gaussian: bool) -> None:
    """What κ bounds, as GECO sees it: the moving average over its batches."""
    style_axes(axes, "epoch", "RMS error of batches" if gaussian else "nats per element\nof batches")
    if not geco or geco[0].run.kappa is None:
        return
    kappa = geco[0].run.kappa
    history = [metrics for metrics in geco[0].history if "geco/constraint" in metrics]
    moving = np.array([metrics["geco/constraint"] for metrics in history])
    kept = np.sqrt(np.maximum(0, moving + kappa**2)) if gaussian else moving + kappa
    axes.plot([metrics["epoch"] for metrics in history], kept, label="geco", **look_of("geco"))
    axes.axhline(kappa, color="0.4", linewidth=0.9, linestyle=":", label="κ")
    legend_above(axes)
