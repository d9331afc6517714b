"""A trial that is to run alone, and whose node is gone before it gets there, takes another in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune

LOOK_SECONDS = 5.0
WAIT_SECONDS = 300.0
"""What a cluster that scales up is given to bring such a node again."""


class NodeGoneError(Exception):
    """No node has what a trial was to have alone. trial: its id."""

    def __init__(self, trial: str, cpus: float) -> None:
        super().__init__(
            f"no node of {cpus:g} CPU, on which it was to run alone, came within {WAIT_SECONDS / 60:g} minutes: it "
            "runs alone on the largest node there is"
        )
        self.trial = trial


class AloneWatch(tune.Callback):  # type: ignore[misc]
    """Ends Tune's loop with NodeGoneError where a trial has waited too long for more cores than any node has.

    Ray would wait for ever, and Tune cannot ask for less. fewest: the cores below which no trial fits anyway.
    most_cpus: of the biggest node there is now.
    """

    def __init__(
        self, fewest: float, most_cpus: Callable[[], float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fewest, self._most_cpus, self._clock = fewest, most_cpus, clock
        self._looked = self._fitted = clock()

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        now = self._clock()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        waiting = {
            trial.config["alone"]: trial.placement_group_factory.required_resources.get("CPU", 0.0)
            for trial in trials
            if trial.status == "PENDING" and trial.config["alone"]
        }
        most = self._most_cpus() if waiting else 0.0
        beyond = [trial for trial, cpus in waiting.items() if self._fewest <= most < cpus]
        if not beyond:
            self._fitted = now
        elif now - self._fitted >= WAIT_SECONDS:
            raise NodeGoneError(beyond[0], waiting[beyond[0]])

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its callbacks for a restore that is never asked for."""
        return tune.Callback, ()
