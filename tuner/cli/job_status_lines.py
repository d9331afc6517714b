"""How a running sweep stands, as lines of its log that a program reads."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from tuner.cluster.job_log import PREFIX, STATUS_LINES
from tuner.sweeps.events import Event, Reported
from tuner.sweeps.steady_clock import SteadyClock

if TYPE_CHECKING:
    from tuner.planning.plans import Plan
    from tuner.sweeps.state import Sweep

LINE_SECONDS = 5.0


def status_lines(plan: Plan, sweep: Sweep) -> StatusLines | None:
    """What writes them, where the environment asks for it."""
    return StatusLines(plan, sweep) if os.environ.get(STATUS_LINES) == "1" else None


class StatusLines:
    """A line on stderr every few seconds, `vae-tuner-status {JSON}`: what `vae-tuner status` tells, `t` (seconds since
    1970), `epochs_per_second` of this session since its first epoch began, `ends_at`, null while there is nothing to go
    by, and the plan's `notes` while no epoch has ended.
    """

    def __init__(self, plan: Plan, sweep: Sweep) -> None:
        self._plan, self._sweep = plan, deepcopy(sweep)
        self._reports, self._began = 0, math.inf
        self._clock = SteadyClock()
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self.tell()

    def event(self, event: Event) -> None:
        """Fold a journal event; tell it, once the last line is some seconds old."""
        with self._lock:
            if isinstance(event, Reported):
                self._reports += 1
                self._began = min(self._began, event.t - event.metrics.get("time/epoch_s", 0.0))
            self._sweep.apply(event)
            seconds = self._told + LINE_SECONDS - self._clock()
            if seconds <= 0:
                self.tell()
            elif self._timer is None:
                self._timer = threading.Timer(seconds, self._tell_due)
                self._timer.daemon = True
                self._timer.start()

    def tell(self) -> None:
        """Write a line now."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._told = self._clock()
            sys.stderr.write(f"{PREFIX}{json.dumps(self._document(self._told))}\n")  # whole, whoever else writes
            sys.stderr.flush()

    def _tell_due(self) -> None:
        """What the timer does, unless a line was told as it came up."""
        with self._lock:
            if threading.current_thread() is self._timer:
                self.tell()

    def _document(self, now: float) -> dict[str, Any]:
        from tuner.sweeps.status import standing

        status = standing(self._sweep, self._sweep.header["name"]).document()
        del status["trials"], status["state"]
        rate = self._reports / max(now - self._began, 1e-3)
        return {
            **status,
            "planned": self._sweep.planned_trials,
            "t": now,
            "epochs_per_second": rate,
            "ends_at": now + self.seconds_left(rate) if rate else None,
            "notes": [] if self._reports else list(self._plan.notes),
        }

    def seconds_left(self, rate: float) -> float:
        """The seconds until all trials, or the budget of time, have ended, at a rate of epochs a second."""
        seconds = self.epochs_left() / rate
        limit = self._plan.spec.budget.time
        return seconds if limit is None else min(seconds, max(0.0, limit - self._sweep.seconds))

    def epochs_left(self) -> float:
        """The epochs to come, if each trial is as long as those that have ended, or else as the plan expects."""
        trials = self._sweep.trials.values()
        ended = [trial.epochs for trial in trials if not trial.unfinished]
        mean = sum(ended) / len(ended) if ended else self._plan.expected_epochs / self._plan.n_trials
        open_epochs = sum(min(trial.epochs, mean) for trial in trials if trial.unfinished)
        return max(0.0, (self._sweep.planned_trials - len(ended)) * mean - open_epochs)
