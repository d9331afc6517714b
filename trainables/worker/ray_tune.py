"""The Tune trainable around a lane."""

from __future__ import annotations

import json
import time
from typing import Any

from trainables.importing import uncollected

with uncollected():
    import ray
    from ray import tune
    from ray.exceptions import ActorUnavailableError, RayActorError

    from trainables.errors import RESULT_KEY
    from trainables.worker.lane import Lane
    from trainables.worker.orders import Orders

RETRY_SECONDS = 1.0


class LaneTrainable(tune.Trainable):  # type: ignore[misc]
    """A trial of Tune's that trains several of ours: a step is an epoch of each, and returns what the lane tells as
    JSON under RESULT_KEY, which Tune cannot take apart.

    Its configuration: `lane` (its number), `desk` (the name of the actor from which it takes its orders before every
    epoch), and what `Lane` is given. Without members it waits there; told to end it is done. Where the desk is gone, so
    is the driver, or it must begin anew: the result says that `orders` are lost. Tune saves and restores nothing: the
    sweep's folder has all.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self._number, self._desk, self._turn = config["lane"], config["desk"], 0
        self._lane = Lane(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next lane into this actor."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        while True:
            try:
                orders = self._taken()
            except (RayActorError, ValueError):  # ValueError: there is no actor of this name
                return {RESULT_KEY: json.dumps({"orders": "lost"})}
            told = self._lane.step(orders)
            if told is not None:
                return {RESULT_KEY: json.dumps(told)}
            if orders.end:
                return {"done": True}

    def _taken(self) -> Orders:
        self._turn += 1
        while True:
            try:
                orders: Orders = ray.get(ray.get_actor(self._desk).take.remote(self._number, self._turn))
                return orders
            except ActorUnavailableError:  # its node does not answer, for a moment or for ever
                time.sleep(RETRY_SECONDS)
