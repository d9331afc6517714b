"""Between the journal and the lanes: what is heard of them, which trials they train, and how many there are."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from trainables.errors import StorageError
from tuner.running.decisions import Decisions
from tuner.running.handing_out import FINISHED, HandingOut
from tuner.running.lanes import Lane, Lanes, share_of
from tuner.running.lost_workers import OUT_OF_MEMORY, TIMEOUT, Loss
from tuner.sweeps.journal import Journal

WAIT_SECONDS = 60.0
"""What the worker of a lane is given to come up, before others train its trials."""


class OrdersLostError(Exception):
    """The actor from which lanes take their orders is gone: all begin anew from the journal."""


class Dispatcher:
    """Decides on what lanes report, hands out trials to them, and posts their orders before they ask for them.

    n_lanes: how many there may be, which may change.
    """

    def __init__(
        self,
        journal: Journal,
        decisions: Decisions,
        handing_out: HandingOut,
        lanes: Lanes,
        n_lanes: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal, self._decisions, self._handing_out = journal, decisions, handing_out
        self.lanes, self._n_lanes, self._clock = lanes, n_lanes, clock
        self._to_open: deque[Lane] = deque()
        self._stopping = self._finished = False

    # --- what is heard ------------------------------------------------------------------------------------------------

    def came_up(self, number: int) -> None:
        """The worker of a lane has started."""
        if lane := self.lanes.get(number):
            lane.is_up, lane.late = True, False
            self.fill()

    def hear(self, number: int, result: Mapping[str, Any], ip: str | None = None) -> bool:
        """What a lane says after an epoch, its orders for the next included; False where it is not one any more.

        Raises StorageError where its storage failed, or the journal cannot be written.
        """
        lane = self.lanes.get(number)
        if lane is None:
            return False
        lane.trains, lane.ip = False, ip or lane.ip
        try:
            self._decide(lane, result)
            self.fill()
        except (StorageError, OrdersLostError):
            self.stop()  # Tune ends its loop, and would wait for the lanes that wait
            raise
        return True

    def _decide(self, lane: Lane, result: Mapping[str, Any]) -> None:
        """In the order of the trials: a lane may have taken them on in another."""
        if "orders" in result:
            raise OrdersLostError
        if "storage" in result:
            raise StorageError(result["storage"])
        trials = self._journal.sweep.trials

        def place(report: Mapping[str, Any]) -> tuple[int, int]:
            return trials[report["trial"]].number, trials[report["trial"]].repeat

        for report in sorted(result["reports"], key=place):
            if not self._decisions.hear(report):
                lane.remove(report["trial"], has_left="error" in report)

    def lose(self, number: int, loss: Loss) -> None:
        """A lane is lost. Whom it was not told of yet waits again, as if nothing had happened."""
        lane = self.lanes.get(number)
        if lane is None:
            return
        self.lanes.close(number)
        suspects = lane.suspects
        for trial in lane.trials:
            if trial not in suspects:
                self._handing_out.take_back(trial)
        if not self._stopping:
            self._decisions.lose(suspects, loss)

    def expire(self, number: int, limit: float) -> None:
        """A lane was silent for longer than an epoch of each of its trials may take. limit: seconds of one."""
        lane = self.lanes.get(number)
        if lane is None:
            return
        n, field = len(lane.trials), "resources.epoch_timeout"
        says = f"a lane of {n} trials took longer than {n} times {field}, {n * limit:g} s, for an epoch of each"
        if n == 1:
            epoch = self._journal.sweep.trials[lane.trials[0]].epochs + 1
            says = f"epoch {epoch} took longer than {field}, {limit:g} s"
        self.lose(number, Loss(TIMEOUT, says))

    def charge_memory(self, message: str) -> None:
        """All that ran on a node shared its memory, which was too little: each goes on from its last checkpoint, alone,
        or in a smaller lane.

        message: Ray's, which names the node. A lane of which nothing was heard may have run there too.
        """
        for lane in [lane for lane in self.lanes if lane not in self._to_open]:
            if lane.ip is None or "(IP: " not in message or f"(IP: {lane.ip}," in message:
                self.lose(lane.number, Loss("memory", OUT_OF_MEMORY))

    def closed(self, number: int) -> None:
        """A lane has ended as it was told to."""
        self.lanes.close(number)

    # --- what is ordered ----------------------------------------------------------------------------------------------

    def next_lane(self) -> dict[str, Any] | str | None:
        """What a new lane is given beside what all are, None while there is none, or FINISHED."""
        self.fill()
        if self._to_open and not self._stopping:
            lane = self._to_open.popleft()
            lane.opened = self._clock()
            return {"lane": lane.number, "alone": lane.alone}
        return FINISHED if self._finished else None

    def fill(self) -> None:
        """Hand out what finds a place, and post the orders of all lanes that wait for some."""
        if self._stopping:
            self.lanes.send(lambda lane: True)
            return
        self._open_lanes()
        self._free_late()
        while isinstance(given := self._handing_out.next_trial(self.lanes.has_place), Mapping):
            self._place(given)
        self._finished = given == FINISHED
        is_needless = self._finished or not self._handing_out.to_come or self._waits_alone
        for lane in [lane for lane in self._to_open if lane.is_idle and is_needless]:
            self._to_open.remove(lane)
            self.lanes.close(lane.number)
        self.lanes.send(lambda lane: lane.is_idle and (is_needless or lane.alone is not None))

    @property
    def _waits_alone(self) -> bool:
        """Whether a trial waits for what it is to have alone, and which the lanes hold that have nothing to train."""
        return any(lane.alone is not None and not lane.is_up for lane in self.lanes)

    def _open_lanes(self) -> None:
        """As many as there may be, and as there are trials for them."""
        running = sum(len(lane.trials) for lane in self.lanes.shared)
        wanted = min(self._n_lanes(), running + self._handing_out.to_come)
        while len(self.lanes.shared) < wanted:
            self._to_open.append(self.lanes.open(None, self._clock()))

    def _free_late(self) -> None:
        """Where a node is lost, Ray may have no place for a lane until the search ends."""
        shared = self.lanes.shared
        if not any(lane.is_up for lane in shared):
            return
        for lane in shared:
            if not lane.is_up and self._clock() - lane.opened >= WAIT_SECONDS:
                lane.late = True
                for trial in lane.trials:
                    lane.remove(trial)
                    self._handing_out.take_back(trial)

    def _place(self, given: Mapping[str, Any]) -> None:
        trial = self._journal.sweep.trials[given["trial"]]
        if not given["alone"]:
            self.lanes.place(trial, given)
            return
        lane = self.lanes.open(trial.id, self._clock())
        lane.add(trial, given, share_of(trial))
        self._to_open.append(lane)

    def stop(self) -> None:
        """No epoch begins any more: each lane ends once it waits for orders, and saves what it has reported."""
        self._stopping = True
        self.fill()

    @property
    def is_quiet(self) -> bool:
        """Whether no lane has a worker."""
        return not any(lane.is_up for lane in self.lanes)

    @property
    def is_over(self) -> bool:
        """Whether nothing trains or will: lanes whose workers never came need not come any more."""
        return self._finished and self.is_quiet
