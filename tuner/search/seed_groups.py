"""A pruning rule for configurations of several seeds, which go on or stop together, pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tuner.search.rules import Rule, Verdict, rung_reached
from tuner.sweeps.state import Sweep, Trial


@dataclass(frozen=True)
class Together:
    """The seeds of a configuration wait for each other at every rung; then the rule decides on their mean, once.

    The rule sees configurations as trials, in the order in which the last seed of each has arrived. Where one seed
    diverges or fails, the configuration has: the others stop.

    rungs: the epochs at which seeds wait; none where the rule itself has trials wait, as HyperBand does.
    """

    rule: Rule
    rungs: tuple[int, ...]
    repeats: int

    @property
    def summary(self) -> str:
        where = f"at epoch {', '.join(map(str, self.rungs))}" if self.rungs else "there"
        return f"{self.rule.summary}; the {self.repeats} seeds of a configuration wait {where}, and their mean decides"

    def decide(self, sweep: Sweep, trial: str, epoch: int, value: float | None) -> Verdict:
        """Pause at a rung; who has no value there passes, as its siblings do, whose schedules are the same."""
        if not self.rungs:
            return self.rule.decide(sweep, trial, epoch, value)
        rung = rung_reached(self.rungs, sweep.rungs, trial, epoch)
        return Verdict("continue" if rung is None or value is None else "pause", rung)

    def release(self, sweep: Sweep) -> list[tuple[str, Verdict]]:
        """The verdicts on paused trials whose configuration is decided on."""
        seen = sweep.by_configuration()
        due = dict(self.rule.release(seen))
        found = []
        for configuration in seen.trials.values():
            waiting = [run for run in configuration.runs if run.paused]
            if not waiting:
                continue
            verdict = _told(configuration) or due.get(configuration.id) or self._judged(seen, configuration)
            found += [(run.id, verdict) for run in waiting if verdict]
        return found

    def _judged(self, seen: Sweep, configuration: Trial) -> Verdict | None:
        """By those that arrived before it; None while one of its seeds may still come."""
        if not self.rungs or not configuration.paused:
            return None
        rung = configuration.reports[-1].rung
        assert rung is not None
        filed = list(seen.rungs[rung].items())
        place = [trial for trial, _ in filed].index(configuration.id)
        before = replace(seen, rungs={**seen.rungs, rung: dict(filed[:place])})
        verdict = self.rule.decide(before, configuration.id, configuration.epochs, filed[place][1])
        return replace(verdict, rung=rung)

    def expected_epochs(self, trials: int, epochs: int) -> int:
        """What is trained with all seeds. trials: configurations."""
        return self.repeats * self.rule.expected_epochs(trials, epochs)


def has_ended_all(run: Trial) -> bool:
    """Whether this seed ends those beside it.

    Parameters
    ----------
    run
        A trial of a configuration of several seeds.

    Returns
    -------
    bool
        True where it diverged, failed or was pruned.
    """
    return run.stop_reason in ("diverged", "error", "pruned")


def _told(configuration: Trial) -> Verdict | None:
    """What was decided on another of its seeds already, which a crash may have parted from this one."""
    if any(map(has_ended_all, configuration.runs)):
        return Verdict("stop")
    paused = next(run for run in configuration.runs if run.paused)
    gone_on = [run for run in configuration.runs if run.releases == paused.releases + 1]
    return Verdict("continue", paused.reports[-1].rung) if gone_on else None
