"""Fig. 3 of "Taming VAEs" on the user's data: one GECO run in the plane, above its β, error and κ over steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from tuner.reports.figures.method_looks import by_method, colour_of, middle_level
from tuner.reports.figures.style import ORANGE, count_along_x, legend_above, log_scale, stacked_figure, style_axes

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["followed_columns", "trajectory_figure"]


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
