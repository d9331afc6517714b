"""The figures of what the compared runs did: their schedules, trajectories, latents, and training on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from tuner.reports.figures.method_looks import by_method, colour_of, look_of, marker_of, middle_level
from tuner.reports.figures.style import (
    ORANGE,
    count_along_x,
    legend_above,
    log_scale,
    round_ticks,
    stacked_figure,
    style_axes,
    wide_figure,
)

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison
    from tuner.comparison.design import Trained


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


def kl_by_latent_figure(comparison: Comparison) -> Figure | None:
    """The KL of each latent, largest first, of one run of each method at the middle level."""
    if not comparison.kl_by_latent:
        return None
    figure, [axes] = wide_figure()
    style_axes(axes, "latent, the largest KL first", "KL  [nats per example]")
    count_along_x(axes)
    for method, values in comparison.kl_by_latent.items():
        colour, marker = colour_of(method), marker_of(method)
        axes.plot(range(1, len(values) + 1), values, color=colour, marker=marker, markersize=4, label=method)
    axes.set_ylim(bottom=0)
    legend_above(axes)
    return figure


def over_training_figure(comparison: Comparison) -> Figure | None:
    """The first seed of each method at the middle level, on validation images."""
    runs = by_method(middle_level(comparison.trained["path"]))
    if not runs:
        return None
    figure, [above, below] = stacked_figure(2)
    gaussian = comparison.design.scale.sigma is not None
    error = "val/mse" if gaussian else "val/recon_nll"
    style_axes(above, "epoch", "KL  [nats per example]")
    style_axes(below, "epoch", "squared error\nper element" if gaussian else "reconstruction\n[nats per example]")
    for axes in (above, below):
        count_along_x(axes)
    for method, trained in runs.items():
        history = trained[0].history
        epochs = [metrics["epoch"] for metrics in history]
        for axes, name in ((above, "val/kl"), (below, error)):
            axes.plot(epochs, [metrics[name] for metrics in history], label=method, **look_of(method))
    kappa = next(iter(runs.values()))[0].run.kappa
    if gaussian and kappa:
        below.axhline(kappa**2, color="0.4", linewidth=0.9, linestyle=":", label="κ²")
    log_scale(below, "y")
    legend_above(above, below.get_lines())
    return figure


def trajectory_figure(comparison: Comparison) -> Figure | None:
    """Training batches, every tenth step; the error is the moving average that GECO holds against κ."""
    found = followed_columns(comparison)
    if not found:
        return None
    steps, kl, error, beta = (found[name] for name in ("step", "kl", "error", "beta"))
    gaussian = comparison.design.scale.sigma is not None
    named = "squared error per element" if gaussian else "reconstruction  [nats per example]"
    figure, [plane, weight, over] = stacked_figure(3)
    style_axes(plane, named, "KL of the batch\n[nats per example]")
    plane.plot(error, kl, color=colour_of("geco"), linewidth=0.8)
    dots = plane.scatter(error, kl, 9, steps, cmap="cividis", zorder=2)
    figure.colorbar(dots, ax=plane, label="step", pad=0.01)
    style_axes(weight, "step", "β")
    weight.plot(steps, beta, color=ORANGE)
    style_axes(over, "step", named.replace(" per element", "\nper element").replace("  [", "\n["))
    over.plot(steps, error, color=colour_of("geco"), label="geco")
    target, name = _target(comparison)
    over.axhline(target, color="0.4", linewidth=0.9, linestyle=":", label=name)
    plane.axvline(target, color="0.4", linewidth=0.9, linestyle=":")
    for axes in (weight, over):
        count_along_x(axes)
        log_scale(axes, "y")
    log_scale(plane, "x")
    legend_above(over)
    return figure


def followed_columns(comparison: Comparison) -> dict[str, list[float]]:
    """The run that was followed, a value for each kept step; empty where none was.

    `kl` of its batch in nats, `error` as GECO's moving average has it, `lambda`, and the `beta` that weighs the same.
    """
    found = comparison.trajectory
    if found is None:
        return {}
    sigma = comparison.design.scale.sigma
    target, _ = _target(comparison)
    size = 1 if sigma else comparison.design.scale.n_elements
    weights = np.asarray(found["lambda"])
    return {
        "step": list(found["step"]),
        "kl": list(found["kl"]),
        "error": (target + size * np.asarray(found["moving"])).tolist(),
        "lambda": weights.tolist(),
        "beta": (1 / (2 * weights * sigma**2) if sigma else 1 / weights).tolist(),
    }


def _target(comparison: Comparison) -> tuple[float, str]:
    """The error that κ asks for, and its name."""
    kappa, scale = by_method(middle_level(comparison.trained["path"]))["geco"][0].run.kappa, comparison.design.scale
    assert kappa is not None
    return (kappa**2, "κ²") if scale.sigma else (kappa * scale.n_elements, "κ·D")
