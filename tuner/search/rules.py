"""What every pruning rule answers, and what a verdict is. The rules: `asha`, `hyperband`, `median`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tuner.sweeps.state import Sweep

Decision = Literal["continue", "stop", "pause"]


@dataclass(frozen=True)
class Verdict:
    """decision: `stop` for a hopeless trial, `pause` for one that waits for others to arrive at its rung.

    rung: where its value was filed, or where it passed without one. cutoff: what it was held against.
    """

    decision: Decision
    rung: int | None = None
    cutoff: float | None = None


class Rule(Protocol):
    """A pruning rule: a pure function of what the sweep has seen, so that a replayed sweep decides as the first did.

    Values are finite; those of diverged epochs never reach a rule.
    """

    @property
    def summary(self) -> str:
        """What it does when, as a plan shows it."""

    def decide(self, sweep: Sweep, trial: str, epoch: int, value: float | None) -> Verdict:
        """The verdict on a trial's next report, which the sweep does not hold yet.

        value: that of the trial's last complete cycle; None before, and while a warm-up rises: then it goes on.
        """

    def release(self, sweep: Sweep) -> Sequence[tuple[str, Verdict]]:
        """The verdicts that are due on paused trials, which go on or stop."""

    def expected_epochs(self, trials: int, epochs: int) -> int:
        """About how many epochs so many trials of so many epochs train in all."""


def rung_reached(rungs: Iterable[int], filed: Mapping[int, Container[str]], trial: str, epoch: int) -> int | None:
    """The rung at which a report is filed: the highest that has been reached, once a trial; None where it is not.

    A trial that reports seldom is never compared with what others reached much earlier. filed: by rung, the trials that
    were filed there.
    """
    rung = max((rung for rung in rungs if rung <= epoch), default=None)
    known = rung is not None and any(trial in trials for other, trials in filed.items() if other >= rung)
    return None if known else rung
