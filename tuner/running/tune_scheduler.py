"""Lanes behind the interface of Tune's scheduler."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from trainables.errors import RESULT_KEY
from tuner.running.dispatcher import Dispatcher
from tuner.running.lost_workers import error_of, why


class LaneScheduler(FIFOScheduler):  # type: ignore[misc]
    """Passes on what is heard of a lane, which is a trial of Tune's and trains several of ours.

    A paused trial leaves Tune with its lane's step. So Tune saves nothing a second time, and what waits takes no place.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
        goes_on = self._dispatcher.hear(trial.config["lane"], json.loads(result[RESULT_KEY]), result.get("node_ip"))
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """The worker is gone; what a model raised arrives as a result instead."""
        self._dispatcher.lose(trial.config["lane"], why(error_of(trial)))

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> None:
        self._dispatcher.closed(trial.config["lane"])

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Tune gives the place of a lane that has ended to the one chosen here, and kills the worker that is coming up
        for it; where none is chosen, one that waits takes the place."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its scheduler for a restore that is never asked for."""
        return object, ()


class LaneStarts(tune.Callback):  # type: ignore[misc]
    """Tells which lanes have a worker."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def on_trial_start(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        self._dispatcher.came_up(trial.config["lane"])

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles its callbacks for a restore that is never asked for."""
        return tune.Callback, ()


class SearchIsOver(tune.Stopper):  # type: ignore[misc]
    """Ends Tune's loop where only lanes are left whose workers never came."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._dispatcher.is_over

    def __reduce__(self) -> tuple[type, tuple[()]]:
        """Tune pickles it for a restore that is never asked for."""
        return object, ()
