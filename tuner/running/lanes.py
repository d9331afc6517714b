"""The lanes of a session: which trials each trains, and the orders it has before its next epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainables.config.paths import parse_config
from trainables.training.members import group_of
from trainables.values import steps_per_epoch
from trainables.worker.orders import Orders
from tuner.planning.resources import Share, epoch_cost
from tuner.sweeps.state import Trial

Post = Callable[[int, int, Orders], None]
"""Takes the number of a lane, its turn, and its orders then."""


@dataclass
class Lane:
    """A worker that trains some trials at once.

    Its orders are posted while it waits for them: before it starts, and after each of its reports. So what is decided
    on a report is done before the next epoch, and at one lane nothing depends on the clock.

    alone: the trial that has it for itself. turn: of the orders posted last. is_up: whether its worker has started.
    late: whether none came for so long that others have its trials. trains: whether a report is due. ends: whether it
    was told to. ip: of its node, once it was heard of.
    """

    number: int
    alone: str | None = None
    turn: int = 0
    is_up: bool = False
    late: bool = False
    trains: bool = False
    ends: bool = False
    opened: float = 0.0
    ip: str | None = None
    shares: dict[str, Share] = field(default_factory=dict)
    widths: dict[str, int | None] = field(default_factory=dict)
    epochs_done: dict[str, int] = field(default_factory=dict)
    _start: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _stop: list[str] = field(default_factory=list)

    @property
    def trials(self) -> list[str]:
        """That it trains, or is to train from its next epoch on."""
        return list(self.shares)

    @property
    def suspects(self) -> list[str]:
        """Of these, those that may have ended it: all that it was told of, or that its worker would have begun with."""
        return [trial for trial in self.shares if trial not in self._start or not self.is_up]

    @property
    def is_idle(self) -> bool:
        return not (self.shares or self.ends)

    def takes(self, width: int | None, members: int) -> bool:
        """Whether a trial with which it may consist of `width` finds room here."""
        widths = [each for each in (members, width, *self.widths.values()) if each is not None]
        return not (self.alone or self.ends or self.late) and len(self.shares) < min(widths)

    def add(self, trial: Trial, given: Mapping[str, Any], share: Share) -> None:
        self._note(trial, share)
        self._start[trial.id] = given

    def holds(self, trial: str) -> bool:
        """Whether its worker has a trial that is to stop, and has not been told."""
        return trial in self._stop and not self.late

    def keep(self, trial: Trial, share: Share) -> None:
        """Take back that a trial that it holds is to stop."""
        self._stop.remove(trial.id)
        self._note(trial, share)

    def _note(self, trial: Trial, share: Share) -> None:
        self.shares[trial.id] = share
        self.widths[trial.id] = trial.width
        self.epochs_done[trial.id] = trial.epochs

    def remove(self, trial: str, has_left: bool = False) -> None:
        """It trains no more here; the lane is told, unless it has not been told of it, or the trial has left by itself,
        as one does that has failed."""
        for known in (self.shares, self.widths, self.epochs_done):
            known.pop(trial, None)
        if self._start.pop(trial, None) is None and not has_left:
            self._stop.append(trial)

    def orders(self, end: bool) -> Orders | None:
        """What it is to do next, None where it goes on waiting or training; they are posted then."""
        if not self.is_up or self.trains or self.ends or not (end or self.shares or self._stop):
            return None
        found = Orders(tuple(self._stop), () if end else tuple(self._start.values()), end)
        self._stop, self._start = [], {}
        self.turn += 1
        self.trains, self.ends = bool(self.shares) and not end, end
        return found


def share_of(trial: Trial) -> Share:
    """What a trial adds to the cost of its lane. A configuration that is new to this version trains alone."""
    config = parse_config(trial.config)
    steps = steps_per_epoch(config.data.n_train, config.batch_size) if config.data.n_train else 1
    return Share(group_of(config) or trial.id, steps)


class Lanes:
    """The open lanes by number. members: the most trials of each."""

    def __init__(self, members: int, post: Post) -> None:
        self.members, self._post = members, post
        self._open: dict[int, Lane] = {}
        self._n_opened = 0

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._open.values()))

    def get(self, number: int) -> Lane | None:
        """None where it was closed."""
        return self._open.get(number)

    @property
    def shared(self) -> list[Lane]:
        """Those that take trials of any kind."""
        return [lane for lane in self._open.values() if not (lane.alone or lane.ends)]

    def open(self, alone: str | None, now: float) -> Lane:
        lane = self._open[self._n_opened] = Lane(self._n_opened, alone, opened=now)
        self._n_opened += 1
        return lane

    def close(self, number: int) -> None:
        self._open.pop(number, None)

    def has_place(self, width: int | None) -> bool:
        """Whether a lane takes a trial with which it may consist of so many."""
        return any(lane.takes(width, self.members) for lane in self._open.values())

    def place(self, trial: Trial, given: Mapping[str, Any]) -> None:
        """Put a trial where the lane costs least with it, of equals into the first.

        One that was paused and goes on before its lane was told stays there, with what is not saved.
        """
        share = share_of(trial)
        if holder := next((lane for lane in self._open.values() if lane.holds(trial.id)), None):
            holder.keep(trial, share)
            return
        able = [lane for lane in self._open.values() if lane.takes(trial.width, self.members)]
        min(able, key=lambda lane: epoch_cost([*lane.shares.values(), share])).add(trial, given, share)

    def send(self, end: Callable[[Lane], bool] = lambda lane: False) -> None:
        """Post all orders that are due. end: which lanes shall end once they do not train."""
        for lane in self._open.values():
            orders = lane.orders(end(lane))
            if orders is not None:
                self._post(lane.number, lane.turn, orders)
