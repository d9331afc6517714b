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

        Parameters
        ----------
        sweep
            What has been seen before this report.
        trial
            Its id.
        epoch
            From 1.
        value
            That of the trial's last complete cycle; None before, and while a warm-up rises: then it goes on.

        Returns
        -------
        Verdict
            With the rung at which the value is filed.
        """

    def release(self, sweep: Sweep) -> Sequence[tuple[str, Verdict]]:
        """The verdicts that are due on paused trials.

        Parameters
        ----------
        sweep
            What has been seen.

        Returns
        -------
        sequence of tuple
            (id of the trial, `continue` or `stop`).
        """

    def expected_epochs(self, trials: int, epochs: int) -> int:
        """About how many epochs a sweep trains in all.

        Parameters
        ----------
        trials
            Of the sweep.
        epochs
            Of a trial that is not pruned.

        Returns
        -------
        int
            If the rule prunes as planned.
        """


def rung_reached(rungs: Iterable[int], filed: Mapping[int, Container[str]], trial: str, epoch: int) -> int | None:
    """The rung at which a report is filed: the highest that has been reached, once a trial.

    A trial that reports seldom is never compared with what others reached much earlier.

    Parameters
    ----------
    rungs
        Epochs.
    filed
        By rung, the trials that were filed there.
    trial
        Its id.
    epoch
        Of the report.

    Returns
    -------
    int or None
        None where the report is not filed.

    Examples
    --------
    >>> rung_reached((4, 12), {4: {"0001"}}, "0000", 5), rung_reached((4, 12), {4: {"0000"}}, "0000", 5)
    (4, None)
    """
    rung = max((rung for rung in rungs if rung <= epoch), default=None)
    known = rung is not None and any(trial in trials for other, trials in filed.items() if other >= rung)
    return None if known else rung
