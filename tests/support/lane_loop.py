"""Tune's loop over lanes without Ray: a dispatcher, orders that lie in memory, and a worker for each lane."""

import json
import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from events import new_event

from search_spaces.catalogue import parse_space
from search_spaces.space import assemble
from trainables.config import method_of
from trainables.config.paths import parse_config, plain
from trainables.worker.lane import Lane
from trainables.worker.orders import Orders
from tuner.running import search_loop
from tuner.running.decisions import Decisions
from tuner.running.dispatcher import Dispatcher
from tuner.running.handing_out import FINISHED, HandingOut
from tuner.running.lanes import Lanes, Post
from tuner.running.lost_workers import Loss
from tuner.sweeps.events import line_of
from tuner.sweeps.journal import Journal
from tuner.sweeps.state import Trial

EPOCHS = 6
SPACE = parse_space("lr+batch-size")


class LaneLoop:
    """dispatcher: made of what posts orders. worker: makes what trains a lane, with `step(orders)` as `Lane` has it.

    The lane of a trial that is to run alone comes up once no other holds a place, and keeps others from coming up.

    workers: of the lanes that are up. opened: what each lane was opened with. peak: the most trials that trained at
    once. trained: of each step the lane and its trials. begun: the trials that lanes were told to start.
    """

    def __init__(self, dispatcher: Callable[[Post], Dispatcher], worker: Callable[[], Any]) -> None:
        self.orders: dict[int, deque[Orders]] = {}
        self.dispatcher, self._worker = dispatcher(self._post), worker
        self.workers: dict[int, Any] = {}
        self.opened: list[dict[str, Any]] = []
        self.trained: list[tuple[int, list[str]]] = []
        self.begun: list[str] = []
        self.peak = 0
        self._pending: list[dict[str, Any]] = []

    def _post(self, lane: int, turn: int, orders: Orders) -> None:
        assert turn == self.dispatcher.lanes.get(lane).turn
        self.orders.setdefault(lane, deque()).append(orders)
        self.begun += [given["trial"] for given in orders.start]

    def open(self) -> Any:
        """Start the workers of all lanes that are wanted; what the searcher says then."""
        while True:
            while isinstance(said := self.dispatcher.next_lane(), dict):
                self.opened.append(said)
                self._pending.append(said)
            given = next(filter(self._has_room, self._pending), None)
            if given is None:
                return said
            self._pending.remove(given)
            self.workers[given["lane"]] = self._worker()
            self.dispatcher.came_up(given["lane"])

    def _has_room(self, given: dict[str, Any]) -> bool:
        if given["alone"] is not None:
            return not self.workers
        up = (self.dispatcher.lanes.get(lane) for lane in self.workers)
        return all(lane is None or lane.alone is None for lane in up)

    @property
    def ready(self) -> list[int]:
        """The lanes with orders that they have not followed."""
        return [lane for lane in self.workers if self.orders.get(lane)]

    def step(self, lane: int) -> None:
        """What a lane does with its next orders."""
        orders = self.orders[lane].popleft()
        trials = self.dispatcher.lanes.get(lane).trials
        told = self.workers[lane].step(orders)
        if told is not None:
            self.trained.append((lane, trials))
            running = sum(len(each.trials) for each in self.dispatcher.lanes)
            self.peak = max(self.peak, running)
            assert self.dispatcher.hear(lane, json.loads(json.dumps(told)))
        elif orders.end:
            del self.workers[lane]
            self.dispatcher.closed(lane)

    def lose(self, lane: int, loss: Loss) -> None:
        """The worker of a lane dies, with whatever it was ordered."""
        del self.workers[lane]
        self.orders.pop(lane, None)
        self.dispatcher.lose(lane, loss)

    def run(self, next_one: Callable[[int], int] = lambda n: 0, n_steps: float = float("inf")) -> Self:
        """To the end, or for so many steps. next_one: which of n lanes with orders is the next to follow them."""
        while n_steps > 0:
            said = self.open()
            if not self.ready:
                assert said == FINISHED, "no lane has orders, and nothing is to come"
                assert not self.workers, "lanes that were never told to end"
                break
            self.step(self.ready[next_one(len(self.ready))])
            n_steps -= 1
        return self

    def stop(self) -> None:
        """A signal asks for an orderly stop, and all lanes have time to follow."""
        self.dispatcher.stop()
        while self.ready:
            self.step(self.ready[0])
        assert self.dispatcher.is_quiet


class TrainedLoop(LaneLoop):
    """The lanes of a session, as the driver runs them on Ray, trained in this process. clock: of the lanes."""

    def __init__(self, session: Any, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            lambda post: search_loop.dispatcher_of(session.plan, session.journal, post),
            lambda: Lane(search_loop.given_to_lanes(session), clock),
        )


class ThinLane:
    """Trains nothing: a trial's value is value(trial, epoch). Trials are told in an order of its own.

    fails: what is told of a trial in place of its epoch, None for nothing.
    """

    def __init__(self, value: Callable[[str, int], float], fails: Callable[[str, int], dict[str, Any] | None]) -> None:
        self.epochs: dict[str, int] = {}
        self._value, self._fails = value, fails

    def step(self, orders: Orders) -> dict[str, Any] | None:
        for trial in orders.stop:
            self.epochs.pop(trial, None)
        if orders.end:
            self.epochs.clear()
        for given in orders.start:
            assert given["trial"] not in self.epochs
            self.epochs[given["trial"]] = given["epochs_done"]
        reports = [self._report(trial) for trial in sorted(self.epochs, key=lambda trial: trial[::-1])]
        for report in reports:
            if "error" in report:
                del self.epochs[report["trial"]]
        return {"reports": reports} if reports else None

    def _report(self, trial: str) -> dict[str, Any]:
        self.epochs[trial] += 1
        epoch = self.epochs[trial]
        if failure := self._fails(trial, epoch):
            return {"trial": trial, **failure}
        metrics = {"val/elbo": self._value(trial, epoch)}
        return {
            "trial": trial, "epoch": epoch, "metrics": metrics, "diverged": False, "outcome": None, "checkpoint": None
        }  # fmt: skip


def resolved(assignment: dict[str, Any]) -> tuple[dict[str, Any], str]:
    config = parse_config(assemble({"data": {"n_train": 640}, "threads": 1}, SPACE, assignment))
    return plain(config), method_of(config)


class Bench(LaneLoop):
    """Thin lanes over a journal, which may have been begun before. A trial is better the nearer its rate is to .003."""

    def __init__(
        self,
        path: Path,
        *,
        lanes: int = 1,
        members: int = 4,
        at_once: int | None = None,
        n_trials: int = 12,
        epochs: int = EPOCHS,
        sampler: str = "random",
        rule: Any = None,
        retries: int = 3,
        fails: Callable[[str, int], dict[str, Any] | None] = lambda trial, epoch: None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.journal = Journal.open(path) if path.exists() else Journal.create(path)
        if not self.journal.events:
            header = {"metric": "val/elbo", "direction": "max", "epochs": epochs, "rungs": [4]}
            self.journal.append(new_event("header", format=1, **header))
        self.decisions = Decisions(self.journal, "val/elbo", epochs, rule, retries=retries)
        self.handing_out = HandingOut(
            self.journal, SPACE, {}, resolved,
            sampler=sampler, seed=0, n_trials=n_trials, concurrency=at_once or lanes * members,
            settle=self.decisions.settle,
        )  # fmt: skip

        def dispatcher(post: Post) -> Dispatcher:
            return Dispatcher(
                self.journal, self.decisions, self.handing_out, Lanes(members, post), lambda: lanes, clock
            )

        super().__init__(dispatcher, lambda: ThinLane(self.value, fails))

    @property
    def trials(self) -> dict[str, Trial]:
        return self.journal.sweep.trials

    def value(self, trial: str, epoch: int) -> float:
        return epoch - abs(math.log(parse_config(self.trials[trial].config).lr.base / 0.003))

    def told(self, *, by_trial: bool = False) -> list[dict[str, Any]]:
        """What happened in order, or trial by trial, but for who wrote it and when."""
        lines = [line_of(event) for event in self.journal.events]
        kept = [{key: line[key] for key in line if key not in ("seq", "session", "t")} for line in lines]
        return sorted(kept, key=lambda line: (line.get("trial", ""), line.get("epoch", 0))) if by_trial else kept
