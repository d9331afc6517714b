"""Asynchronous successive halving (Li et al. 2018, arXiv 1810.05934): the rungs and the rule at a rung, pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Asha", "Verdict", "grace_for", "rungs_for"]

LEAST_GRACE_EPOCHS = 4
LEAST_GRACE_SHARE = 0.1


@dataclass(frozen=True)
class Verdict:
    """stop: whether the trial is hopeless. rung: where its value was filed, with the cutoff it was held against."""

    stop: bool
    rung: int | None = None
    cutoff: float | None = None


@dataclass(frozen=True)
class Asha:
    """At each rung a trial goes on if it is in the best 1/reduction_factor of those that arrived before it.

    rungs: epochs, rising. direction: `max` or `min`. The first to arrive at a rung always passes.
    """

    rungs: tuple[int, ...]
    reduction_factor: int
    direction: str

    def decide(self, filed: Mapping[int, Mapping[str, float]], trial: str, epoch: int, value: float) -> Verdict:
        """Decide on a report. filed: by rung, the values of the trials that were filed there.

        A value is filed once a rung, at the highest rung it has reached: a trial that reports seldom is never compared
        with what others reached much earlier.
        """
        rung = max((rung for rung in self.rungs if rung <= epoch), default=None)
        if rung is None or any(trial in filed.get(other, ()) for other in self.rungs if other >= rung):
            return Verdict(stop=False)
        cutoff = self.cutoff(filed.get(rung, {}).values())
        return Verdict(cutoff is not None and self._worse(value, cutoff), rung, cutoff)

    def cutoff(self, values: Iterable[float]) -> float | None:
        """The value that 1/reduction_factor of the values reach, interpolated; None where there are none."""
        known = list(values)
        if not known:
            return None
        scores = self._sign * np.array(known)
        return self._sign * float(np.percentile(scores, (1 - 1 / self.reduction_factor) * 100))

    def _worse(self, value: float, cutoff: float) -> bool:
        return self._sign * value < self._sign * cutoff

    @property
    def _sign(self) -> int:
        return 1 if self.direction == "max" else -1


def grace_for(epochs: int, warmup_epochs: int) -> tuple[int, bool]:
    """The first rung: when every warm-up has ended, at least 4 epochs and 10 % of the budget, at most half of it.

    Returns it and whether the cap cut a warm-up short.
    """
    wanted = max(LEAST_GRACE_EPOCHS, math.ceil(LEAST_GRACE_SHARE * epochs), warmup_epochs)
    cap = max(1, epochs // 2)
    return min(wanted, cap), warmup_epochs > cap


def rungs_for(epochs: int, grace: int, reduction_factor: int) -> tuple[int, ...]:
    """grace·reduction_factor^k below `epochs`: at the end nothing is left to prune."""
    rungs = []
    while grace < epochs:
        rungs.append(grace)
        grace *= reduction_factor
    return tuple(rungs)
