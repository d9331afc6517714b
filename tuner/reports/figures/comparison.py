"""The figures of a comparison, each a function of it: GECO's paper on the user's data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.reports.figures.comparison_runs import schedules_figure
from tuner.reports.figures.expected_best import expected_best_figure
from tuner.reports.figures.information_plane import information_plane_figure
from tuner.reports.figures.kl_by_latent import kl_by_latent_figure
from tuner.reports.figures.over_training import over_training_figure
from tuner.reports.figures.path_differences import path_differences_figure
from tuner.reports.figures.style import Drawing
from tuner.reports.figures.target_chance import target_chance_figure
from tuner.reports.figures.trajectory import trajectory_figure

if TYPE_CHECKING:
    from tuner.comparison.answer import Comparison

__all__ = ["FIGURES"]

FIGURES: dict[str, Drawing[[Comparison]]] = {
    "path": Drawing(
        "GECO's final loss J minus each rival's",
        "Left of 0 GECO ended lower. Dots are means over seeds and levels, bars their 95 % intervals, strokes single "
        "seeds; a bar well inside the gray band is too small a difference to matter.",
        path_differences_figure,
    ),
    "plane": Drawing(
        "The information plane: what each method pays in KL for its error",
        "Further left reconstructs better, further down costs less KL: the lower curve is the better method. Large "
        "marks are the runs of Q1, averaged over seeds at each level; lines tie levels, with the slope that λ̂ gives "
        "them. Small pale marks are Q2's random trials.",
        information_plane_figure,
    ),
    "quality": Drawing(
        "What n random trials buy",
        "The expected test value of the trial that validation selects among n, with a 95 % band from bootstrapping the "
        "pool. A curve that rises early needs little search.",
        expected_best_figure,
    ),
    "target": Drawing(
        "The chance that one of n trials meets the target",
        "The sooner a curve nears 1, the fewer trials the method needs to keep to κ* at a KL near the best known.",
        target_chance_figure,
    ),
    "training": Drawing(
        "KL and error over training, of runs that end at the same λ̂",
        "One seed at the middle level, on validation images: where errors meet, the lower KL is the better path.",
        over_training_figure,
    ),
    "trajectory": Drawing(
        "One GECO run over its steps",
        "Above, from dark to bright, its way through error and KL of training batches, every tenth step; below, the β "
        "that weighs as its multiplier does, and the error that κ bounds, as a moving average. GECO first buys a low "
        "error, then trades what is left over for a lower KL along the dotted line.",
        trajectory_figure,
    ),
    "latents": Drawing(
        "How much each latent carries",
        "The KL of each latent on test images, one run of each method at the middle level. Latents near 0 are unused.",
        kl_by_latent_figure,
    ),
    "schedules": Drawing(
        "The weights, bounds and learning rates that were used",
        "At the end of each epoch, for the runs above. Right, the same curves as λ; a β of 0 has no place on this "
        "axis. All methods end at one λ̂.",
        schedules_figure,
    ),
}
"""By file name; a figure of what was not trained is None."""
