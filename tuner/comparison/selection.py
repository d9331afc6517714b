"""The choice of learning rates on a few pilots, and the uncertainty that it leaves in what is compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

__all__ = ["Cell", "best_rate", "selection_sds"]

DRAWS = 1_000

Cell = Mapping[float, Sequence[float]]
"""A method at a level: by learning rate, J of each pilot; infinite for one that diverged."""


def best_rate(cell: Cell) -> float:
    """The learning rate of the lowest mean J."""
    return min(cell, key=lambda rate: fmean(cell[rate]))


def selection_sds(cells: Sequence[Cell], seed: int = 0) -> list[float]:
    """How far, in root mean square over other pilots one might have had, a method's J at each of its levels moves.

    Seeds alone do not show it: the choice is the same for all of them. Where two learning rates are nearly as good, the
    pilots' noise decides which is taken; one method under two names then differs by what the choice cost, and a test
    over seeds takes that for an effect in up to a quarter of the cases. Each draw adds the pilots' noise to their
    means, chooses anew, and counts what the choice would cost by the means observed.
    """
    noise = _noise_of_a_mean(cells)
    draw = np.random.default_rng(seed)
    found = []
    for cell in cells:
        means = np.array([fmean(values) for values in cell.values()])
        means = means[np.isfinite(means)]
        if len(means) > 1:
            chosen = (means + draw.normal(0, noise, size=(DRAWS, len(means)))).argmin(axis=1)
            found.append(math.sqrt(float(np.square(means[chosen] - means.min()).mean())))
        else:
            found.append(0.0)
    return found


def _noise_of_a_mean(cells: Sequence[Cell]) -> float:
    """The standard error of a mean of pilots, pooled over all cells."""
    found = [
        values for cell in cells for values in cell.values() if len(values) > 1 and all(map(math.isfinite, values))
    ]
    if not found:
        return 0.0
    freedom = sum(len(values) - 1 for values in found)
    squares = sum((value - fmean(values)) ** 2 for values in found for value in values)
    return math.sqrt(squares / freedom / fmean(map(len, found)))
