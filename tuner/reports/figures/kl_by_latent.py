"""How much each latent carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.reports.figures.method_looks import colour_of, marker_of
from tuner.reports.figures.style import count_along_x, legend_above, style_axes, wide_figure

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["kl_by_latent_figure"]


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
