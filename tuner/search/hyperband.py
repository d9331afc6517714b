"""HyperBand (Li et al. 2018, JMLR 18(185), arXiv 1603.06560): brackets of synchronous successive halving, pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, cycle

from trainables.ranking import sign_of
from tuner.search.rules import Verdict, rung_reached
from tuner.sweeps.state import Sweep, Trial


@dataclass(frozen=True)
class Bracket:
    """numbers: of its trials, in the order of asks. rungs: the epochs at which they wait for each other."""

    numbers: range
    rungs: tuple[int, ...]

    def rounds(self, epochs: int, reduction_factor: int) -> list[tuple[int, int]]:
        """How many trials train up to which epoch, round by round, if none of them fails.

        Parameters
        ----------
        epochs
            Of a trial that is not pruned.
        reduction_factor
            Of the trials that wait at a rung one in so many goes on.

        Returns
        -------
        list of tuple
            (trials, epoch).

        Examples
        --------
        >>> Bracket(range(9), (1, 3)).rounds(9, 3)
        [(9, 1), (3, 3), (1, 9)]
        """
        survivors = accumulate(self.rungs, lambda n, _: _kept(n, reduction_factor), initial=len(self.numbers))
        return list(zip(survivors, (*self.rungs, epochs), strict=True))


@dataclass(frozen=True)
class HyperBand:
    """At a rung a trial pauses until its bracket's cohort has arrived; then the best 1/reduction_factor go on.

    With the rungs r₀, r₀η, … r₀η^(S−1) < R of the grace r₀, and η the reduction factor, bracket s = S … 0 holds
    n = ⌈(S + 1)/(s + 1)·η^s⌉ trials, uses the last s rungs, and ⌊n/η⌋ of n go on, at least one. Where R = r₀η^S this is
    the paper's; elsewhere its rungs R·η^(−k) would come after a grace that was meant. Trials fill brackets by their
    number and brackets follow each other in cycles, so that neither order nor concurrency decides who is compared.
    Trials that diverged or failed leave their cohort; a last bracket that is cut short is compared as it is. Ties go to
    the earlier trial. A cutoff is the value of the last one to go on.

    epochs: R. trials: of the whole sweep. direction: `max` or `min`.
    """

    rungs: tuple[int, ...]
    reduction_factor: int
    direction: str
    epochs: int
    trials: int

    @cached_property
    def brackets(self) -> list[Bracket]:
        """All brackets of the sweep, from the one with most rungs, again and again."""
        found: list[Bracket] = []
        for rungs, size in cycle(self._shapes()):
            first = found[-1].numbers.stop if found else 0
            if first >= self.trials:
                break
            found.append(Bracket(range(first, min(first + size, self.trials)), rungs))
        return found

    def _shapes(self) -> list[tuple[tuple[int, ...], int]]:
        """Rungs and size of each bracket of a cycle."""
        most, factor = len(self.rungs), self.reduction_factor
        return [(self.rungs[most - s :], math.ceil((most + 1) * factor**s / (s + 1))) for s in range(most, -1, -1)]

    @property
    def summary(self) -> str:
        rounds: dict[tuple[int, ...], list[tuple[int, int]]] = {}
        for bracket in self.brackets:
            rounds.setdefault(bracket.rungs, bracket.rounds(self.epochs, self.reduction_factor))
        told = [" → ".join(f"{n} to epoch {epoch}" for n, epoch in found) for found in rounds.values()]
        return f"brackets in turn: {'; '.join(told)}"

    def decide(self, sweep: Sweep, trial: str, epoch: int, value: float | None) -> Verdict:
        """Pause at a rung; a trial without a value passes, and no cohort waits for it longer than for its arrival."""
        rungs = self._bracket_of(sweep.trials[trial]).rungs
        rung = rung_reached(rungs, sweep.rungs, trial, epoch)
        return Verdict("continue" if rung is None or value is None else "pause", rung)

    def release(self, sweep: Sweep) -> list[tuple[str, Verdict]]:
        """The verdicts on paused trials whose whole cohort has arrived."""
        waiting = {trial.id: trial for trial in sweep.trials.values() if trial.paused}
        rounds = {(self._bracket_of(trial), trial.reports[-1].rung): None for trial in waiting.values()}
        verdicts = [found for bracket, rung in rounds if rung for found in self._compared(sweep, bracket, rung)]
        return [(trial, verdict) for trial, verdict in verdicts if trial in waiting]

    def expected_epochs(self, trials: int, epochs: int) -> int:
        """What is trained if no trial fails."""
        return sum(
            n * (stop - start)
            for bracket in self.brackets
            for (n, stop), start in zip(bracket.rounds(epochs, self.reduction_factor), (0, *bracket.rungs), strict=True)
        )

    def _bracket_of(self, trial: Trial) -> Bracket:
        return next(bracket for bracket in self.brackets if trial.number in bracket.numbers)

    def _compared(self, sweep: Sweep, bracket: Bracket, rung: int) -> Iterator[tuple[str, Verdict]]:
        """Who goes on from a rung and who does not; nothing while somebody may still come."""
        cohort = [trial for trial in sweep.trials.values() if trial.number in bracket.numbers]
        arrived = [trial for trial in cohort if trial.epochs >= rung or not trial.unfinished]
        if len(arrived) < (len(cohort) if sweep.exhausted else len(bracket.numbers)):
            return
        values = ((trial.id, sweep.rungs[rung].get(trial.id)) for trial in cohort)
        filed = [(trial, value) for trial, value in values if value is not None]
        ranked = sorted(filed, key=lambda entry: -sign_of(self.direction) * entry[1])
        kept = _kept(len(ranked), self.reduction_factor)
        for place, (trial, _) in enumerate(ranked):
            yield trial, Verdict("continue" if place < kept else "stop", rung, ranked[kept - 1][1])


def _kept(n: int, reduction_factor: int) -> int:
    return max(1, n // reduction_factor)
