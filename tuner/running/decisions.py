"""What is decided on every report of a trial and on every loss, and how it is written down."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from trainables.ranking import BEST, is_spent
from tuner.running.lost_workers import TIMEOUT, Loss
from tuner.search.rules import Rule, Verdict
from tuner.search.seed_groups import has_ended_all
from tuner.sweeps.events import Decided, Ended, Failed, Reported, Warned
from tuner.sweeps.journal import Journal
from tuner.sweeps.state import Trial


class Decisions:
    """Decides on a report and writes both in one line; a report that is known gets the decision it got.

    Its memory is the journal's fold, so that a replayed sweep decides as the first did. A diverged epoch ends its trial
    whatever the rule says, and the last epoch is a completion whatever it says.

    A paused trial gives its place up: its checkpoint is in the sweep's folder, and it is handed out again when it may
    go on.

    A trial that is lost with its worker, or whose model raises, is handed out again, to go on from its last checkpoint,
    `retries` times over all sessions; one that runs out of memory once more than that, alone. A node that is lost takes
    none of them, and one whose epoch took too long, alone in its lane, ends at once: it would do so again.

    A trial that has not become better for `patience` epochs ends too: with its best epoch as its result where trials
    are ranked by that, and as pruned elsewhere.

    rule: the pruning rule, None for none. is_spent: whether no epoch may begin any more, given the
    number of those that are done and not written yet.
    """

    def __init__(
        self,
        journal: Journal,
        metric: str,
        epochs: int,
        rule: Rule | None,
        is_spent: Callable[[int], bool] = lambda unwritten: False,
        retries: int = 0,
        patience: int | None = None,
    ) -> None:
        self._retries, self._patience = retries, patience
        self._journal, self._name, self._epochs, self._rule = journal, metric, epochs, rule
        self._is_spent = is_spent

    def hear(self, report: Mapping[str, Any]) -> bool:
        """What a worker says of a trial: an epoch, or the `error` of one and its `kind`. Whether the trial goes on."""
        own = self._journal.sweep.trials[report["trial"]]
        for text in report.get("warnings", ()):
            self._journal.append(Warned(own.id, text))
        if "error" in report:
            self.fail(own, report["error"], report.get("kind", "raised"))
            return False
        if own.unfinished and not own.paused and report["epoch"] > own.epochs:
            self._decide(report)
        # The journal's trials are new objects where a line was lost and read again.
        own = self._journal.sweep.trials[report["trial"]]
        return own.unfinished and not own.paused

    def settle(self) -> None:
        """Decide on the paused trials that have waited for all they are compared with."""
        for trial, verdict in self._rule.release(self._journal.sweep) if self._rule else ():
            reason = "pruned" if verdict.decision == "stop" else None
            self._journal.append(Decided(trial=trial, reason=reason, **vars(verdict)))

    def lose(self, trials: Sequence[str], loss: Loss) -> None:
        """The trials of a lane were lost with it. Of several none is charged: they are handed out again, into smaller
        lanes, until the one that ends its lanes is alone. Of a lost node that is not asked."""
        lost = [self._journal.sweep.trials[trial] for trial in trials]
        if len(lost) == 1 or loss.kind == "node":
            for trial in lost:
                self.fail(trial, loss.says, loss.kind)
            return
        for trial in lost:
            if trial.unfinished and not trial.paused:
                self._journal.append(Failed(trial.id, loss.says, loss.kind, len(lost)))

    def fail(self, trial: Trial, error: str, kind: str) -> None:
        """A trial was lost: it is handed out again, or ends where that was tried too often. kind: as in the journal."""
        if not trial.unfinished or trial.paused:
            return
        if kind != TIMEOUT and (trial.failures < self._retries or not trial.counts(kind)):
            self._journal.append(Failed(trial.id, error, kind))
        else:
            self._journal.append(Ended(trial.id, "error", error, kind))

    def _decide(self, report: Mapping[str, Any]) -> None:
        compared = self._journal.sweep.trials[report["trial"]].phases.compared_epoch(report["epoch"])
        reason, verdict = self._verdict(report, compared)
        why = self._impatience(report) if reason in (None, "budget") else None
        if why is not None:
            reason = "completed" if self._journal.sweep.ranking.kind == BEST else "pruned"
        self._journal.append(
            Reported(
                **{name: report[name] for name in ("trial", "epoch", "metrics", "outcome", "checkpoint")},
                reason=reason,
                **vars(verdict if reason is None else replace(verdict, decision="stop")),
                compared=None if verdict.rung is None else compared,
                why=why,
            )
        )

    def _impatience(self, report: Mapping[str, Any]) -> str | None:
        """Why a trial ends that has not become better for a while; None where it goes on."""
        trial, epoch = self._journal.sweep.trials[report["trial"]], report["epoch"]
        if self._patience is None:
            return None
        best = trial.ranking.better(trial.best, epoch, report["metrics"], trial.eligible)
        if best is None or not is_spent(best, epoch, trial.eligible, self._patience):
            return None
        unit = "ends of its cycles" if trial.phases.periods else "epochs"
        since = f"{best.value:.6g} of epoch {best.epoch} for {self._patience} {unit}"
        if trial.eligible.is_constrained:
            return f"no epoch that met its constraint was better in {self._name} than its {since}"
        return f"{self._name} was not better than its {since}"

    def _verdict(self, report: Mapping[str, Any], compared: int | None) -> tuple[str | None, Verdict]:
        """Why the trial ends with this report, None where it does not, and what the rule says of the epoch compared."""
        value = report["metrics"].get(self._name, math.nan)
        if report["diverged"] or not math.isfinite(value):
            return "diverged", Verdict("stop")
        verdict = Verdict("continue")
        if report["epoch"] < self._epochs and self._is_lost(report["trial"]):
            return "pruned", Verdict("stop")
        if self._rule is not None:
            sweep, trial = self._journal.sweep, self._journal.sweep.trials[report["trial"]]
            then = value if compared == report["epoch"] else trial.value_at(compared, self._name)
            verdict = self._rule.decide(sweep, trial.id, report["epoch"], then)
        if report["epoch"] >= self._epochs:
            return "completed", verdict
        if verdict.decision == "stop":
            return "pruned", verdict
        return ("budget" if self._is_spent(1) else None), verdict

    def _is_lost(self, trial: str) -> bool:
        """Whether another seed of its configuration has failed, which ends them all."""
        sweep = self._journal.sweep
        return any(has_ended_all(other) for other in sweep.siblings(sweep.trials[trial]))
