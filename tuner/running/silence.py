"""Trials of which nothing is heard for a while are named, and a lane that takes too long is ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ray import tune

from tuner.running.dispatcher import Dispatcher
from tuner.running.lanes import Lane
from tuner.sweeps.journal import Journal

LOOK_SECONDS = 1.0
WHILE_SECONDS = 60.0
SLOWEST = 3.0
"""A lane is silent for as many of the longest waits there were; at least WHILE_SECONDS."""


SHOWN = 4
"""How many of its trials are named."""
QUIET_STEPS = 3
PER_LANE = 10
"""A report that Tune has and has not told yet is told before its lane is ended: Tune takes up one event a step, and of
those that wait any. After so many steps without one none waits; else after so many reports for each lane."""


@dataclass
class _Wait:
    since: float
    next_word: float = 0.0
    overdue_at: int | None = None
    """How many reports had been heard of when its epoch had taken too long."""


class SilenceWatch(tune.Callback):  # type: ignore[misc]
    """Names the trials of a lane of which nothing is heard for a while, with what it does, and again each time that has
    doubled.

    Where it takes longer than `limit` seconds for each of its trials, reading data and making models counted to the
    first epoch, the lane ends with the reason, and its worker is killed, once what had come by then was heard. Only
    time in which this process listened counts: a machine that was suspended has not heard what its workers said
    meanwhile.

    tell: takes a sentence. kill: ends the worker of a trial of Tune's.
    """

    def __init__(
        self,
        journal: Journal,
        limit: float | None,
        tell: Callable[[str], None],
        dispatcher: Dispatcher,
        kill: Callable[[Any], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal, self._limit = journal, limit
        self._tell, self._dispatcher, self._kill, self._clock = tell, dispatcher, kill, clock
        self._listened, self._slowest, self._last = 0.0, 0.0, clock()
        self._looked = -LOOK_SECONDS
        self._heard = self._quiet = 0
        self._waits: dict[tuple[str, str], _Wait] = {}

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._heard, self._quiet = self._heard + 1, 0
        wait = self._waits.pop((trial.trial_id, "RUNNING"), None)
        if wait is not None:
            self._slowest = max(self._slowest, self._listened - wait.since)
        self._waits[trial.trial_id, "RUNNING"] = _Wait(self._listened)

    def on_step_begin(self, iteration: int, trials: Sequence[Any], **info: Any) -> None:
        now = self._clock()
        self._listened += min(now - self._last, LOOK_SECONDS)
        self._last, self._quiet = now, self._quiet + 1
        if self._listened - self._looked < LOOK_SECONDS:
            return
        self._looked = self._listened
        active = {(trial.trial_id, trial.status): trial for trial in trials if self._is_due(trial)}
        self._waits = {key: self._waits.get(key) or _Wait(self._listened) for key in active}
        for key, trial in active.items():
            self._consider(trial, self._waits[key])

    def _is_due(self, trial: Any) -> bool:
        """Whether something of it is waited for: of a lane that waits for orders nothing is."""
        lane = self._dispatcher.lanes.get(trial.config["lane"])
        if lane is None or not lane.trials:
            return False
        return trial.status == "PENDING" or (trial.status == "RUNNING" and lane.trains)

    def _consider(self, trial: Any, wait: _Wait) -> None:
        lane = self._dispatcher.lanes.get(trial.config["lane"])
        assert lane is not None
        seconds, runs = self._listened - wait.since, trial.status == "RUNNING"
        if runs and self._limit is not None and seconds > self._limit * len(lane.trials):
            if not self._has_heard_all(wait):
                return
            wait.since = self._listened
            self._dispatcher.expire(lane.number, self._limit)
            self._kill(trial)
        elif seconds >= max(wait.next_word, WHILE_SECONDS, SLOWEST * self._slowest):
            wait.next_word = 2 * seconds
            doing = self._training(lane) if runs else _waiting(trial, len(lane.trials))
            self._tell(f"{_named(lane.trials)}: nothing heard for {seconds:.0f} s; {doing}")

    def _training(self, lane: Lane) -> str:
        if len(lane.trials) > 1:
            return "they train in one lane"
        (trial,) = lane.trials
        epoch = self._journal.sweep.trials[trial].epochs + 1
        return f"it trains epoch {epoch}" if epoch > lane.epochs_done[trial] + 1 else f"it begins, with epoch {epoch}"

    def _has_heard_all(self, overdue: _Wait) -> bool:
        """Whether no report can wait to be told that came before an epoch had taken too long."""
        if overdue.overdue_at is None:
            overdue.overdue_at = self._heard
            return False
        return self._quiet > QUIET_STEPS or self._heard - overdue.overdue_at > PER_LANE * len(self._waits)

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its callbacks for a restore that is never asked for."""
        return tune.Callback, ()


def _named(trials: Sequence[str]) -> str:
    if len(trials) == 1:
        return f"Trial {trials[0]}"
    more = f" and {len(trials) - SHOWN} more" if len(trials) > SHOWN else ""
    return f"Trials {', '.join(trials[:SHOWN])}{more}"


def _waiting(trial: Any, n: int) -> str:
    asked = trial.placement_group_factory.required_resources
    needs = " and ".join(f"{asked[kind]:g} {kind}" for kind in ("CPU", "GPU") if asked.get(kind))
    return f"{'it waits' if n == 1 else 'they wait'} for a worker with {needs}"


def kill_worker(trial: Any) -> None:
    """End the worker of a trial of Tune's, whatever it does."""
    import ray

    if trial.temporary_state.ray_actor is not None:
        ray.kill(trial.temporary_state.ray_actor)
