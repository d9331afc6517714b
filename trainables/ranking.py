"""Which of a trial's epochs it is ranked by: the last, the best, or the mean of some."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trainables.config import TrialConfig
from trainables.config.objectives import Geco, target_of
from trainables.phases import Phases, phases_of

LAST, BEST, MEAN = "last", "best", "mean-"

MET = 0.02
"""By how much of its target a constraint's moving average swings that is met."""

ALWAYS = Phases()

Metrics = Mapping[str, float]


class Best(NamedTuple):
    """A trial's best epoch so far, and the metric then."""

    epoch: int
    value: float


@dataclass(frozen=True)
class Eligible:
    """The epochs that may be a trial's best: those at which its schedules can be compared, and its constraint is met.

    A trial could not have ended with a value of a warm-up or of the middle of a cycle, and a value from before GECO's
    error was reached answers another question. tolerance: how far `geco/constraint` may be above 0; inf without a
    constraint.
    """

    phases: Phases = ALWAYS
    tolerance: float = math.inf

    @property
    def is_constrained(self) -> bool:
        """Whether epochs at which a constraint was not met are left out."""
        return math.isfinite(self.tolerance)

    def is_compared(self, epoch: int) -> bool:
        return self.phases.is_compared(epoch)

    def holds(self, epoch: int, metrics: Metrics) -> bool:
        return self.is_compared(epoch) and metrics.get("geco/constraint", math.inf) <= self.tolerance


def eligible_of(config: TrialConfig, steps_per_epoch: int) -> Eligible:
    """The eligible epochs of a resolved configuration."""
    return Eligible(phases_of(config, steps_per_epoch), tolerance_of(config))


def tolerance_of(config: TrialConfig) -> float:
    """2 % of the error that GECO is to reach, per element."""
    match config.objective:
        case Geco(kappa=float(kappa), constraint=constraint):
            return MET * target_of(kappa, constraint)
        case _:
            return math.inf


@dataclass(frozen=True)
class Ranking:
    """The rule by which a trial is ranked. kind: `last`, `best` or `mean-K`, the mean over the last K epochs.

    metric: the one that decides which epoch is best. direction: which way it is better, `max` or `min`.
    """

    kind: str = LAST
    metric: str = ""
    direction: str = "max"

    @property
    def says(self) -> str:
        """By what a trial is ranked, in words."""
        means = f"the mean over its last {self.n_epochs} epochs"
        return {LAST: "its last epoch", BEST: "its best epoch"}.get(self.kind, means)

    @property
    def n_epochs(self) -> int:
        """K of `mean-K`; 1 else."""
        return int(self.kind.removeprefix(MEAN)) if self.kind.startswith(MEAN) else 1

    def better(self, best: Best | None, epoch: int, metrics: Metrics, eligible: Eligible) -> Best | None:
        """The best epoch after one more; of equal ones the first."""
        value = metrics.get(self.metric, math.nan)
        if not math.isfinite(value) or not eligible.holds(epoch, metrics):
            return best
        sign = sign_of(self.direction)
        return Best(epoch, value) if best is None or sign * value > sign * best.value else best

    def mean(self, reports: Sequence[Metrics]) -> dict[str, float]:
        """The means over the last K of what the last has, over as many as report it; `epoch` is the last one's."""
        last = reports[-self.n_epochs :]
        found = {name: mean([metrics[name] for metrics in last if name in metrics]) for name in reports[-1]}
        return found | {name: value for name, value in reports[-1].items() if name == "epoch"}


BY_LAST = Ranking()


def sign_of(direction: str) -> int:
    """The factor that turns a metric into a score that is better when higher. direction: `max` or `min`."""
    return 1 if direction == "max" else -1


def is_ranking(kind: str) -> bool:
    """Whether it is `last`, `best` or `mean-K`, K ≥ 1."""
    return re.fullmatch(r"last|best|mean-[1-9][0-9]{0,5}", kind, re.ASCII) is not None


def epochs_since(best: Best | None, epoch: int, eligible: Eligible) -> int:
    """The number of comparable epochs up to `epoch` without a better one; 0 before there is a best."""
    return sum(map(eligible.is_compared, range(best.epoch + 1, epoch + 1))) if best else 0


def is_spent(best: Best | None, epoch: int, eligible: Eligible, patience: int | None) -> bool:
    """Whether `patience` epochs have passed without a better value of the metric; never without a patience."""
    return patience is not None and epochs_since(best, epoch, eligible) >= patience


def mean(values: Sequence[float]) -> float:
    """Σx/n; NaN where infinities of both signs meet, which `statistics.fmean` raises at."""
    return sum(values) / len(values)
