"""The figures of a search: how its trials learned, and which of what varied mattered."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from search_spaces.space import Space
from tuner.figures.search.importance import importance_figure
from tuner.figures.search.learning_curves import learning_curves_figure
from tuner.figures.search.parallel_coordinates import parallel_coordinates_figure
from tuner.figures.search.slices import slices_figure
from tuner.storage.sweep_state import Sweep

__all__ = ["FIGURES"]

FIGURES: dict[str, tuple[str, Callable[[Sweep, Space], Figure | None]]] = {
    "curves": ("What trials were compared by, over their epochs", learning_curves_figure),
    "importance": ("How much of the differences between completed trials each dimension explains", importance_figure),
    "slices": ("What trials ended with, over each dimension", slices_figure),
    "parallel": ("Every trial as a line through its choices; the darker the better", parallel_coordinates_figure),
}
"""By file name: a caption, and the figure; None where there is too little to show."""
