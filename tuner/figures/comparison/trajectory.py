"""Fig. 3 of "Taming VAEs" on the user's data: one GECO run in the plane, beside β, error and KL over its steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.figures.comparison.series import by_method, colour_of, middle_level
from tuner.figures.style import ORANGE, count_along_x, legend_above, log_scale, style_axes, wide_figure

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["trajectory_figure"]

SMOOTHING = 0.9


def trajectory_figure(comparison: Comparison) -> Figure | None:
    """Training batches, every tenth step, smoothed; the constraint's target as a dashed line."""
    found = comparison.trajectory
    if found is None:
        return None
    steps, kl = found["step"], _smoothed(found["kl"])
    scale = comparison.design.scale
    recon = _smoothed([_error(value, scale.sigma, scale.n_elements) for value in found["recon_nll"]])
    beta = [1 / (2 * w * scale.sigma**2) if scale.sigma else 1 / w for w in found["lambda"]]
    error = "squared error per element" if scale.sigma else "reconstruction  [nats per example]"
    figure, [plane, over] = wide_figure(2)
    style_axes(plane, error, "KL  [nats per example]")
    plane.plot(recon, kl, color=colour_of("geco"), linewidth=0.8)
    plane.scatter(recon, kl, 9, steps, cmap="viridis", zorder=2)
    style_axes(over, "step", "β (left), error (right)")
    over.plot(steps, beta, color=ORANGE, label="β")
    over.axhline(1, color=ORANGE, linewidth=0.6, linestyle=":")
    right = over.twinx()
    right.plot(steps, recon, color=colour_of("geco"), label="error")
    target, name = _target(comparison)
    right.axhline(target, color="0.4", linewidth=0.8, linestyle="--", label=name)
    plane.axvline(target, color="0.4", linewidth=0.8, linestyle="--")
    count_along_x(over)
    log_scale(plane, "x")
    log_scale(over, "y")
    log_scale(right, "y")
    right.spines["top"].set_visible(False)
    lines = [*over.get_lines()[:1], *right.get_lines()]
    legend_above(over, lines)
    return figure


def _target(comparison: Comparison) -> tuple[float, str]:
    """The error that κ asks for, and its name."""
    kappa, scale = by_method(middle_level(comparison.trained["path"]))["geco"][0].run.kappa, comparison.design.scale
    assert kappa is not None
    return (kappa**2, "κ²") if scale.sigma else (kappa * scale.n_elements, "κ·D")


def _error(recon_nll: float, sigma: float | None, n_elements: int) -> float:
    """The squared error per element, out of a Gaussian's nats; bits keep their nats."""
    if sigma is None:
        return recon_nll
    return (recon_nll / n_elements - math.log(sigma) - math.log(2 * math.pi) / 2) * 2 * sigma**2


def _smoothed(values: list[float]) -> list[float]:
    found, moving = [], values[0]
    for value in values:
        moving = SMOOTHING * moving + (1 - SMOOTHING) * value
        found.append(moving)
    return found
