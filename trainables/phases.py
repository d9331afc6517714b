"""Equal phases, at which trials under different schedules can be compared.

A metric that is taken while a warm-up rises, or within a cycle, shows the phase of the trial and little of how it will
end.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

from trainables.config import TrialConfig


@dataclass(frozen=True)
class Phases:
    """The phases of a trial, in epochs.

    settled: when every warm-up has ended and a one-cycle rate has passed its peak. periods: of the cycles of β and of
    the learning rate that are longer than an epoch.
    """

    settled: float = 0.0
    periods: tuple[float, ...] = ()

    def compared_epoch(self, epoch: int) -> int | None:
        """The epoch up to `epoch` whose metrics are comparable: that of the last complete cycle; None without one.

        Of two kinds of cycles the one that ended earlier counts.

        Examples
        --------
        >>> [Phases(periods=(8.0,)).compared_epoch(epoch) for epoch in (4, 8, 12)]
        [None, 8, 8]
        >>> [Phases(settled=5.0).compared_epoch(epoch) for epoch in (4, 6)]
        [None, 6]
        """
        ended = min((_floor(_floor(epoch / period) * period) for period in self.periods), default=epoch)
        return ended if ended >= max(1.0, self.settled) else None

    def is_compared(self, epoch: int) -> bool:
        """Whether the metrics of this epoch are compared, at this epoch or at a later one.

        Examples
        --------
        >>> [epoch for epoch in range(1, 11) if Phases(periods=(2.5,)).is_compared(epoch)]
        [2, 5, 7, 10]
        """
        at_hand = range(epoch, epoch + math.ceil(max(self.periods, default=0.0)) + 1)
        found = bisect_left(at_hand, epoch, key=lambda later: self.compared_epoch(later) or 0)
        return found < len(at_hand) and self.compared_epoch(at_hand[found]) == epoch


def phases_of(config: TrialConfig, steps_per_epoch: int) -> Phases:
    """The phases of a resolved configuration.

    ramps of β, GQN's σ, lr.warmup: settled at their end; one-cycle: at its peak; cyclical β, waves, CLR: periods.
    Constants and decays are comparable at every epoch.
    """
    total = config.epochs * steps_per_epoch
    schedules = [config.lr, *([config.beta] if config.beta else [])]
    settled = max(schedule.settled_at(total) for schedule in schedules)
    cycles = (schedule.cycle(total) for schedule in reversed(schedules))
    return Phases(settled / steps_per_epoch, tuple(each / steps_per_epoch for each in cycles if each > steps_per_epoch))


def _floor(value: float) -> int:
    """The floor, where a number that is whole except for rounding counts as whole."""
    return math.floor(value + 1e-9)
