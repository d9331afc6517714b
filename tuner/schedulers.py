"""The Tune scheduler that decides on every report and writes it down."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tuner.asha import Asha, Verdict
from tuner.journal import Event, Journal, Trial

__all__ = ["JournalScheduler"]

RESULT_KEY = "vae_tuner"


class JournalScheduler(FIFOScheduler):  # type: ignore[misc]
    """Decides on a report and writes both in one line; a report that is known gets the decision it got.

    Its memory is the journal's fold, so that a replayed sweep decides as the first did. A diverged epoch ends its trial
    whatever the rungs hold, and the last epoch is a completion whatever they say.

    asha: the rung rule, None for no pruning. on_event: called with every line written.
    """

    def __init__(
        self, journal: Journal, metric: str, epochs: int, asha: Asha | None, on_event: Callable[[Event], None]
    ) -> None:
        super().__init__()
        self._journal, self._name, self._epochs, self._asha, self._on_event = journal, metric, epochs, asha, on_event

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        report = json.loads(result[RESULT_KEY])
        own = self._journal.sweep.trials[report["trial"]]
        if "error" in report:
            self._end(own, report["error"])
            return str(TrialScheduler.STOP)
        decision = self._known(own, report["epoch"]) or self._decide(report)
        return str(TrialScheduler.STOP if decision == "stop" else TrialScheduler.CONTINUE)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """The worker is gone; what a model raised arrives as a result instead."""
        own = self._journal.sweep.trials[trial.config["trial"]]
        self._end(own, "the worker process died: killed, or out of memory")

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its scheduler for a restore that is never asked for."""
        return object, ()

    def _end(self, trial: Trial, error: str) -> None:
        if trial.unfinished:
            self._on_event(self._journal.append("end", trial=trial.id, reason="error", error=error))

    @staticmethod
    def _known(trial: Trial, epoch: int) -> str | None:
        """The decision recorded on this epoch; what comes after a trial's end is stopped."""
        recorded = next((report.decision for report in trial.reports if report.epoch == epoch), None)
        return recorded or (None if trial.unfinished else "stop")

    def _decide(self, report: Mapping[str, Any]) -> str:
        reason, verdict = self._verdict(report)
        decision = "continue" if reason is None else "stop"
        self._on_event(
            self._journal.append(
                "report",
                trial=report["trial"],
                epoch=report["epoch"],
                metrics=report["metrics"],
                decision=decision,
                reason=reason,
                rung=verdict.rung,
                cutoff=verdict.cutoff,
                outcome=report["outcome"],
                checkpoint=report["checkpoint"],
            )
        )
        return decision

    def _verdict(self, report: Mapping[str, Any]) -> tuple[str | None, Verdict]:
        value = report["metrics"].get(self._name, math.nan)
        if report["diverged"] or not math.isfinite(value):
            return "diverged", Verdict(stop=True)
        verdict = Verdict(stop=False)
        if self._asha is not None:
            verdict = self._asha.decide(self._journal.sweep.rungs, report["trial"], report["epoch"], value)
        if report["epoch"] >= self._epochs:
            return "completed", verdict
        return ("pruned" if verdict.stop else None), verdict
