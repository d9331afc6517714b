"""Asynchronous successive halving (Li et al. 2018, arXiv 1810.05934): the rungs and the rule at a rung, pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from trainables.ranking import sign_of
from tuner.search.rules import Verdict, rung_reached
from tuner.sweeps.state import Sweep

LEAST_GRACE_EPOCHS = 4
LEAST_GRACE_SHARE = 0.1


@dataclass(frozen=True)
class Asha:
    """At each rung a trial goes on if it is in the best 1/reduction_factor of those that arrived before it.

    rungs: epochs, rising. direction: `max` or `min`. The first to arrive at a rung always passes.
    """

    rungs: tuple[int, ...]
    reduction_factor: int
    direction: str

    @property
    def summary(self) -> str:
        return f"epoch {', '.join(map(str, self.rungs))}: the best 1/{self.reduction_factor} go on"

    def decide(self, sweep: Sweep, trial: str, epoch: int, value: float | None) -> Verdict:
        """Decide on a report; a value is filed once a rung, at the highest rung it has reached."""
        rung = rung_reached(self.rungs, sweep.rungs, trial, epoch)
        if rung is None or value is None:
            return Verdict("continue", rung)
        cutoff = self.cutoff(sweep.rungs.get(rung, {}).values())
        return Verdict("stop" if cutoff is not None and self._worse(value, cutoff) else "continue", rung, cutoff)

    def release(self, sweep: Sweep) -> tuple[()]:
        """Nothing waits."""
        return ()

    def expected_epochs(self, trials: int, epochs: int) -> int:
        """What is trained if each rung lets 1/reduction_factor of its trials pass."""
        stops = (*self.rungs, epochs)
        lengths = [stop - start for start, stop in zip((0, *stops), stops, strict=False)]
        return sum(max(1, round(trials / self.reduction_factor**i)) * length for i, length in enumerate(lengths))

    def cutoff(self, values: Iterable[float | None]) -> float | None:
        """The value that 1/reduction_factor of the values reach, interpolated.

        Parameters
        ----------
        values
            Filed at a rung; None for a trial that passed without one.

        Returns
        -------
        float or None
            None where there are none.

        Examples
        --------
        >>> Asha((1, 3), 2, "max").cutoff([1.0, 2.0, None, 4.0])
        2.0
        """
        known = [value for value in values if value is not None]
        if not known:
            return None
        sign = sign_of(self.direction)
        return sign * float(np.percentile(sign * np.array(known), (1 - 1 / self.reduction_factor) * 100))

    def _worse(self, value: float, cutoff: float) -> bool:
        sign = sign_of(self.direction)
        return sign * value < sign * cutoff


def grace_for(epochs: int, warmup_epochs: int) -> tuple[int, bool]:
    """The first rung: when every warm-up has ended, at least 4 epochs and 10 % of the budget, at most half of it.

    Parameters
    ----------
    epochs
        Of a trial that is not pruned.
    warmup_epochs
        Of the longest warm-up.

    Returns
    -------
    tuple of int and bool
        The rung, and whether the cap cut a warm-up short.

    Examples
    --------
    >>> grace_for(40, 0), grace_for(40, 12), grace_for(40, 30)
    ((4, False), (12, False), (20, True))
    """
    wanted = max(LEAST_GRACE_EPOCHS, math.ceil(LEAST_GRACE_SHARE * epochs), warmup_epochs)
    cap = max(1, epochs // 2)
    return min(wanted, cap), warmup_epochs > cap


def rungs_for(epochs: int, grace: int, reduction_factor: int) -> tuple[int, ...]:
    """grace·reduction_factor^k below `epochs`: at the end nothing is left to prune.

    Parameters
    ----------
    epochs
        Of a trial that is not pruned.
    grace
        The first rung.
    reduction_factor
        At least 2.

    Returns
    -------
    tuple of int
        Rising.

    Examples
    --------
    >>> rungs_for(40, 4, 3)
    (4, 12, 36)
    """
    rungs = []
    while grace < epochs:
        rungs.append(grace)
        grace *= reduction_factor
    return tuple(rungs)
