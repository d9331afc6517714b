"""What all figures share. No pyplot: nothing global is touched, and nothing needs a display."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["COLOURS", "MARKERS", "style_axes", "wide_figure"]

# Okabe & Ito (2008): told apart by colour-blind readers; markers tell them apart in gray.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv<>Pp"
DPI = 150


def wide_figure(n_panels: int = 1) -> tuple[Figure, list[Axes]]:
    """Panels side by side."""
    figure = Figure(figsize=(1.6 + 5.4 * n_panels, 4.3), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(1, n_panels, squeeze=False)[0])


def style_axes(axes: Axes, x: str, y: str) -> None:
    """Labelled, without a box, on a light grid."""
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
