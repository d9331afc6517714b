"""Which dimensions mattered."""

from __future__ import annotations

import optuna
from matplotlib.figure import Figure

from search_spaces.space import Space
from tuner.reports.figures.style import BLUE, style_axes, wide_figure
from tuner.reports.figures.trials import ended
from tuner.sweeps.state import Sweep, Trial

__all__ = ["importance_figure", "importances"]

FEWEST_TRIALS = 4


def importances(sweep: Sweep, space: Space) -> dict[str, float]:
    """By dimension that every completed trial has, its share of what separates the better from the rest (PED-ANOVA,
    Watanabe et al. 2023, arXiv 2304.10255); empty where too few have completed, and of
    given trials, which no search drew."""
    from tuner.search.searchers import study_of

    common = [path for path in space.active({}) if len({str(t.assignment.get(path)) for t in _completed(sweep)}) > 1]
    if not sweep.header["space"] or len(_completed(sweep)) < FEWEST_TRIALS or len(common) < 2:
        return {}
    study = study_of(sweep, space, optuna.samplers.RandomSampler(seed=0))
    found = optuna.importance.get_param_importances(study, params=common)
    return {path: float(share) for path, share in found.items()}


def importance_figure(sweep: Sweep, space: Space) -> Figure | None:
    """A bar for each dimension."""
    found = importances(sweep, space)
    if not found:
        return None
    figure, [axes] = wide_figure()
    style_axes(axes, "share", "")
    figure.set_figheight(0.9 + 0.4 * len(found))
    paths = list(found)[::-1]
    axes.barh(paths, [found[path] for path in paths], color=BLUE, height=0.6)
    axes.set_xlim(0, 1)
    return figure


def _completed(sweep: Sweep) -> list[Trial]:
    return ended(sweep, ("completed",))
