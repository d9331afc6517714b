"""Fig. 5 of "Taming VAEs" on the user's data: KL and error over training, of runs that end at the same λ̂."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.reports.figures.method_looks import by_method, look_of, middle_level
from tuner.reports.figures.style import count_along_x, legend_above, log_scale, stacked_figure, style_axes

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["over_training_figure"]


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
