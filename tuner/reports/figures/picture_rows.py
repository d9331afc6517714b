"""A grid of images with its rows and columns named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.image import imread

from tuner.reports.figures.style import WIDTH, wide_figure

__all__ = ["picture_rows_figure"]

NAMES = 0.9  # inches beside the picture


def picture_rows_figure(file: Path, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> Figure:
    """rows, columns: names from above and from the left, each of an equal share of the picture; none where they have
    none."""
    pixels = imread(file)
    height, width = pixels.shape[:2]
    figure, [axes] = wide_figure()
    figure.set_figheight((WIDTH - NAMES) * height / width + (0.5 if columns else 0.2))
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="none")
    axes.set_yticks([(i + 0.5) * height / len(rows) for i in range(len(rows))], rows)
    axes.set_xticks([(i + 0.5) * width / len(columns) for i in range(len(columns))], columns, fontsize="small")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
