"""The median stopping rule of Vizier (Golovin et al. 2017, KDD, §3.2.2), pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trainables.ranking import sign_of
from tuner.search.rules import Verdict
from tuner.sweeps.state import Sweep, Trial

LEAST_PEERS = 3


@dataclass(frozen=True)
class MedianRule:
    """From the grace on, a trial stops at epoch e if its best value so far is strictly worse than the median of the
    other trials' averages up to e.

    Vizier compares with the running averages of all completed trials. Here a peer is any other trial that has reached
    epoch e, completed or not: its average up to e is known, and a sweep that prunes completes few. Only epochs from the
    grace on count, in the averages as in the best, and of each trial only those at which its schedules let it be
    compared: the ends of its cycles, and what follows its warm-up; between them e is the last of them. A peer with
    none, or with a value there that is not finite, is none. With fewer than 3 peers nothing stops.

    grace: the first epoch that counts. direction: `max` or `min`.
    """

    grace: int
    direction: str

    @property
    def summary(self) -> str:
        return (
            f"each epoch from {self.grace} on: stopped where the best value is worse than the median of the others' "
            f"averages, once {LEAST_PEERS} others have come as far"
        )

    def decide(self, sweep: Sweep, trial: str, epoch: int, value: float | None) -> Verdict:
        """Decide on a report; the cutoff is the median."""
        own = sweep.trials[trial]
        at = own.phases.compared_epoch(epoch)
        if at is None or at < self.grace or value is None:
            return Verdict("continue")
        metric = sweep.header["metric"]
        peers = [other for other in sweep.trials.values() if other.id != trial and other.epochs >= at]
        values = [self._values(peer, metric, at) for peer in peers]
        averages = [np.mean(known) for known in values if known and np.isfinite(known).all()]
        if len(averages) < LEAST_PEERS:
            return Verdict("continue")
        sign, cutoff = sign_of(self.direction), float(np.median(averages))
        best = max(sign * known for known in [*self._values(own, metric, at), value])
        return Verdict("stop" if best < sign * cutoff else "continue", cutoff=cutoff)

    def _values(self, trial: Trial, metric: str, epoch: int) -> list[float]:
        return [
            report.metrics.get(metric, math.nan)
            for report in trial.reports
            if self.grace <= report.epoch <= epoch and trial.phases.is_compared(report.epoch)
        ]

    def release(self, sweep: Sweep) -> tuple[()]:
        """Nothing waits."""
        return ()

    def expected_epochs(self, trials: int, epochs: int) -> int:
        """What is trained if the worse half stops at the grace, the first comparison."""
        stopped = trials // 2 if trials > LEAST_PEERS else 0
        return stopped * self.grace + (trials - stopped) * epochs
