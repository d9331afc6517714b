"""The Tune scheduler that passes on every report."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from trainables.errors import RESULT_KEY, StorageError
from tuner.running.decisions import Decisions
from tuner.running.lost_workers import error_of, why

WAIT_SECONDS = 60.0
"""What a worker is given to come up, before its trial takes the next place that is free."""


class JournalScheduler(FIFOScheduler):  # type: ignore[misc]
    """Stops and goes on as it is decided.

    A paused trial leaves Tune: its actor serves the next trial, and the searcher hands it out again when it may go on.
    So Tune saves nothing a second time, and what waits takes no place. A disk that is full stops the sweep.
    """

    def __init__(self, decisions: Decisions) -> None:
        super().__init__()
        self._decisions = decisions
        self._added: deque[tuple[Any, float]] = deque()
        self.ips: dict[str, str] = {}
        """Where each trial was heard of last."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        report = json.loads(result[RESULT_KEY])
        if "node_ip" in result:
            self.ips[report["trial"]] = result["node_ip"]
        if "storage" in report:
            raise StorageError(report["storage"])
        return str(TrialScheduler.CONTINUE if self._decisions.hear(report) else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """The worker is gone; what a model raised arrives as a result instead."""
        self._decisions.lose([trial.config["trial"]], why(error_of(trial)))

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._added.append((trial, time.monotonic()))

    def choose_trial_to_run(self, tune_controller: Any) -> Any | None:
        """The first that waits, once it has waited for longer than a worker takes to come up; None before.

        Tune gives the place of a trial that has ended to the trial chosen here, and kills the worker that is coming up
        for it: with many at once most workers would be started in vain. Where none is chosen, the newest takes the
        place: where there are fewer places than trials at once, as when a node is lost, the others would wait for the
        end of the search.
        """
        while self._added and self._added[0][0].status != TuneTrial.PENDING:
            self._added.popleft()
        waits = self._added and time.monotonic() - self._added[0][1] >= WAIT_SECONDS
        return self._added[0][0] if waits else None

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its scheduler for a restore that is never asked for."""
        return object, ()
