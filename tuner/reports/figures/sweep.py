"""The figures of a search: how its trials learned, and which of what varied mattered."""

from __future__ import annotations

from search_spaces.space import Space
from tuner.reports.figures.importance import importance_figure
from tuner.reports.figures.learning_curves import learning_curves_figure
from tuner.reports.figures.parallel_coordinates import parallel_coordinates_figure
from tuner.reports.figures.slices import slices_figure
from tuner.reports.figures.style import Drawing
from tuner.reports.figures.trials_plane import trials_plane_figure
from tuner.sweeps.state import Sweep

__all__ = ["FIGURES"]

FIGURES: dict[str, Drawing[[Sweep, Space]]] = {
    "curves": Drawing(
        "How trials learned",
        "What trials were compared by, after each epoch; pruned trials are pale, and dotted lines are the rungs at "
        "which they were compared. Trials that fell far behind leave the picture.",
        learning_curves_figure,
    ),
    "importance": Drawing(
        "What mattered",
        "How much of what separates the best trials from the rest each dimension explains. Shares of few trials are "
        "uncertain.",
        importance_figure,
    ),
    "slices": Drawing(
        "What trials ended with, over each dimension",
        "Look for where the best marks lie: at the edge of a range, the range was too narrow; spread evenly, the "
        "dimension hardly matters. Pruned trials are pale, at the value they were stopped with.",
        slices_figure,
    ),
    "parallel": Drawing(
        "Every trial as a line through its choices",
        "Dark lines are the best trials: where they run together, the search has made up its mind.",
        parallel_coordinates_figure,
    ),
    "plane": Drawing(
        "Error and KL of each trial",
        "Further left reconstructs better, further down costs less KL: what no mark is left of and below is the front.",
        trials_plane_figure,
    ),
}
"""By file name; a figure with too little to show is None."""
