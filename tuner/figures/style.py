"""What all figures share. No pyplot: nothing global is touched, and nothing needs a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

__all__ = [
    "BLUE",
    "COLOURS",
    "DPI",
    "GRID",
    "MARKERS",
    "ORANGE",
    "count_along_x",
    "legend_above",
    "log_scale",
    "style_axes",
    "wide_figure",
]

# Okabe & Ito (2008): told apart by colour-blind readers; markers tell them apart in gray.
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv<>Pp"
DPI = 150
DECADE = 10.0
GRID = "0.9"


def wide_figure(n_panels: int = 1) -> tuple[Figure, list[Axes]]:
    """Panels side by side."""
    figure = Figure(figsize=(1.0 + 5.4 * n_panels, 4.0), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(1, n_panels, squeeze=False)[0])


def style_axes(axes: Axes, x: str, y: str) -> None:
    """Labelled, without a box, on a light grid."""
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def count_along_x(axes: Axes) -> None:
    """Ticks at whole numbers: epochs, trials and latents have nothing between them."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def legend_above(axes: Axes, lines: Sequence[Line2D] | None = None) -> None:
    """A legend in one row above the axes, where it hides nothing. lines: by default those of the axes."""
    handles = axes.get_legend_handles_labels()[0] if lines is None else list(lines)
    axes.legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(handles), frameon=False, fontsize="small"
    )


def log_scale(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis of which all is drawn logarithmic; one of less than a decade has round numbers as ticks."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = sorted(axis.get_view_interval())
    if high < DECADE * low:
        axis.set_major_locator(MaxNLocator(4))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
