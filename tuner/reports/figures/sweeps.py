"""The figures of sweeps side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.reports.figures.style import Drawing
from tuner.reports.figures.sweeps_best_of_n import best_of_n_figure
from tuner.reports.figures.sweeps_planes import planes_figure
from tuner.reports.figures.sweeps_progress import progress_figure

if TYPE_CHECKING:
    from tuner.comparison.finished_sweeps import Beside

__all__ = ["FIGURES"]

FIGURES: dict[str, Drawing[[Beside]]] = {
    "progress": Drawing(
        "The best so far over the epochs spent",
        "A step where a trial completed as the best of its sweep. Epochs count those of all trials, pruned ones too.",
        progress_figure,
    ),
    "plane": Drawing(
        "Error and KL of completed trials",
        "Further left reconstructs better, further down costs less KL, both on validation examples; large marks are "
        "the best trial of each sweep by the metric.",
        planes_figure,
    ),
    "quality": Drawing(
        "What n random trials buy",
        "The expected value of the best of n, with a 95 % band from bootstrapping; only of sweeps whose trials were "
        "drawn at random and never pruned. The metric selects and is reported: it flatters every sweep a little.",
        best_of_n_figure,
    ),
}
"""By file name; a figure with nothing to show is None."""
