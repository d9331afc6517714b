"""The figures of a comparison, each a function of it: GECO's paper on the user's data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from tuner.figures.comparison.expected_best import expected_best_figure
from tuner.figures.comparison.information_plane import information_plane_figure
from tuner.figures.comparison.kl_by_latent import kl_by_latent_figure
from tuner.figures.comparison.over_training import over_training_figure
from tuner.figures.comparison.path_differences import path_differences_figure
from tuner.figures.comparison.schedules import schedules_figure
from tuner.figures.comparison.target_chance import target_chance_figure
from tuner.figures.comparison.trajectory import trajectory_figure

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["FIGURES"]

FIGURES: dict[str, tuple[str, Callable[[Comparison], Figure | None]]] = {
    "path": ("Q1: KL + λ̂·distortion of GECO minus each rival's", path_differences_figure),
    "plane": ("The information plane: what each method pays in KL for its error", information_plane_figure),
    "quality": ("Q2: what n random trials buy", expected_best_figure),
    "target": ("Q3: the chance that one of n trials keeps to κ* at a KL near the best", target_chance_figure),
    "training": ("KL over training, of runs that end at one λ̂", over_training_figure),
    "trajectory": ("One GECO run over its steps", trajectory_figure),
    "latents": ("How much each latent carries", kl_by_latent_figure),
    "schedules": ("The weights and learning rates that were used", schedules_figure),
}
"""By file name: a caption, and the figure; None where what it shows was not trained."""
