"""What the figures of a search share: its trials with their values, and their dimensions as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from search_spaces.domains import Choice, Float, word
from search_spaces.space import Space
from tuner.reports.figures.style import COLOURS, MARKERS
from tuner.sweeps.metrics import is_usable
from tuner.sweeps.state import Sweep, Trial

__all__ = ["Axis", "colours_of", "ended", "error_of", "markers_of", "marks", "middle_half"]

MARGIN = 0.04


def ended(sweep: Sweep, reasons: Sequence[str] = ("completed", "pruned")) -> list[Trial]:
    """The configurations whose trials ended so, with a value."""
    metric = sweep.header["metric"]
    found = [trial for trial in sweep.configurations.values() if trial.stop_reason in reasons]
    return [trial for trial in found if is_usable(trial.ranked.get(metric, math.nan))]


def colours_of(sweep: Sweep) -> dict[str, str]:
    """By method."""
    return {method: COLOURS[i % len(COLOURS)] for i, method in enumerate(_methods(sweep))}


def markers_of(sweep: Sweep) -> dict[str, str]:
    """By method."""
    return {method: MARKERS[i % len(MARKERS)] for i, method in enumerate(_methods(sweep))}


def _methods(sweep: Sweep) -> list[str]:
    """GECO first: it looks the same on every page."""
    return sorted({trial.method for trial in sweep.trials.values()}, key=lambda method: (method != "geco", method))


def marks(methods: Iterable[str], colours: Mapping[str, str], markers: Mapping[str, str]) -> list[Line2D]:
    """What the marks of each look like, for a legend."""
    return [
        Line2D([], [], linestyle="", marker=markers[method], color=colours[method], label=method)
        for method in sorted(methods)
    ]


def error_of(sweeps: Sequence[Sweep]) -> tuple[str, str]:
    """How reconstruction is measured in all of these sweeps' trials, and what an axis calls it."""
    lasts = [trial.ranked for sweep in sweeps for trial in ended(sweep)]
    if all("val/mse" in last for last in lasts):
        return "val/mse", "squared error per element"
    return "val/recon_nll", "reconstruction  [nats per example]"


def middle_half(values: Sequence[float]) -> tuple[float, float]:
    """Limits that show the better three quarters and a margin: trials that fell far behind leave the picture."""
    found = np.asarray(values, dtype=np.float64)
    low, high = np.percentile(found, [25, 75])
    reach = max(high - low, 1e-9)
    bottom, top = max(found.min(), low - 1.5 * reach), min(found.max(), high + 1.5 * reach)
    margin = MARGIN * max(top - bottom, 1e-9)
    return float(bottom - margin), float(top + margin)


class Axis:
    """A dimension as numbers. ticks: the options of a choice, by number; none for a range."""

    def __init__(self, space: Space, path: str) -> None:
        self._domain = space.dimensions[path]
        self.log = isinstance(self._domain, Float) and self._domain.log
        self.ticks = list(map(word, self._domain.options)) if isinstance(self._domain, Choice) else []

    def numbers(self, values: Sequence[object]) -> NDArray[np.float64]:
        """Of a choice the numbers of its options."""
        if isinstance(self._domain, Choice):
            return np.array([self._domain.place(value) for value in values], dtype=np.float64)
        return np.array(values, dtype=np.float64)
