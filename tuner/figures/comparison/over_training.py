"""Fig. 5 of "Taming VAEs" on the user's data: KL and error over training, of runs that end at the same λ̂."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.figures.comparison.series import by_method, colour_of, middle_level
from tuner.figures.style import count_along_x, log_scale, style_axes, wide_figure

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["over_training_figure"]


def over_training_figure(comparison: Comparison) -> Figure | None:
    """The first seed of each method at the middle level, on validation images."""
    runs = by_method(middle_level(comparison.trained["path"]))
    if not runs:
        return None
    figure, [left, right] = wide_figure(2)
    gaussian = comparison.design.scale.sigma is not None
    error = "val/mse" if gaussian else "val/recon_nll"
    style_axes(left, "epoch", "KL  [nats per example]")
    style_axes(right, "epoch", "squared error per element" if gaussian else "reconstruction  [nats per example]")
    for axes in (left, right):
        count_along_x(axes)
    for method, trained in runs.items():
        history = trained[0].history
        epochs = [metrics["epoch"] for metrics in history]
        for axes, name in ((left, "val/kl"), (right, error)):
            axes.plot(epochs, [metrics[name] for metrics in history], color=colour_of(method), label=method)
    kappa = next(iter(runs.values()))[0].run.kappa
    if gaussian and kappa:
        right.axhline(kappa**2, color="0.4", linewidth=0.8, linestyle="--", label="κ²")
    log_scale(right, "y")
    right.legend(frameon=False, fontsize="small")
    return figure
