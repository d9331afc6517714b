"""Several trials that train side by side in one process, an epoch of each at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch

from trainables import global_settings
from trainables.errors import StorageError
from trainables.grouping import grouped
from trainables.training.members import train_together
from trainables.training.report import Report
from trainables.worker.member import Failure, Member, failure_of
from trainables.worker.orders import Orders

SAVE_SECONDS = 1.0
"""What a lane that is killed may lose of its members, unless their epoch is longer: that one is saved before it is
told."""

Outcome = Report | Failure


class Lane:
    """Trains its members, each as if it were alone: their numbers do not depend on who trains beside them.

    What a member raises, and memory that runs out, is a report of that member alone, which leaves the lane. A storage
    that fails is told in place of all reports, and stops the sweep.

    Parameters
    ----------
    given
        What all members are given, as `Member` takes it.
    clock
        Seconds that never go back.
    """

    def __init__(self, given: Mapping[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self.members: dict[str, Member] = {}
        self._given, self._clock, self._saved = given, clock, clock()
        global_settings.reset()

    def step(self, orders: Orders) -> dict[str, Any] | None:
        """Follow orders, and train an epoch of every member.

        Returns
        -------
        dict or None
            `reports`, one of each member, as `Member.told` makes it; or why the `storage` failed. None where no member
            is left.
        """
        try:
            self._follow(orders)
            return {"reports": self._epoch()} if self.members else None
        except StorageError as error:
            return {"storage": str(error)}

    def _follow(self, orders: Orders) -> None:
        """Whoever leaves is saved before."""
        for trial in self.members.keys() if orders.end else orders.stop:
            if trial in self.members:
                self.members[trial].save()
        for trial in list(self.members) if orders.end else orders.stop:
            self._remove(trial)
        for given in orders.start:
            self.members[given["trial"]] = Member({**self._given, **given})

    def _remove(self, trial: str) -> None:
        if self.members.pop(trial, None) is not None:
            torch.cuda.empty_cache()  # what it has taken belongs to all that share the GPU

    def _epoch(self) -> list[dict[str, Any]]:
        began = self._clock()
        outcomes = self._outcomes()
        for trial, outcome in outcomes.items():
            if isinstance(outcome, Report):
                self.members[trial].take(outcome)
        return self._saved_and_told(outcomes, self._clock() - began)

    def _saved_and_told(self, outcomes: Mapping[str, Outcome], seconds: float) -> list[dict[str, Any]]:
        """seconds: the epoch took. A checkpoint is due where the next would come too late. Whoever failed leaves."""
        now = self._clock()
        due = now - self._saved + seconds >= SAVE_SECONDS
        if due:
            self._saved = now
        found = []
        for trial, outcome in outcomes.items():
            member, checkpoint = self.members[trial], None
            if isinstance(outcome, Report):
                try:
                    checkpoint = member.save(due)
                except StorageError:
                    raise
                except BaseException as error:  # its pictures are made by its model
                    outcome = failure_of(error)
            if isinstance(outcome, Failure):
                self._remove(trial)
            found.append(member.told(outcome, checkpoint))
        return found

    def _outcomes(self) -> dict[str, Outcome]:
        """By trial, in their order: its epoch, or what was raised in its place."""
        found: dict[str, Outcome] = {}
        ready: list[tuple[Hashable, Member]] = []
        for trial, member in self.members.items():
            outcome = _begun(member)
            if outcome is None:
                ready.append((member.trainer.group, member))
            else:
                found[trial] = outcome
        for group in grouped(ready).values():
            found |= _trained(group)
        return {trial: found[trial] for trial in self.members}


def _begun(member: Member) -> Outcome | None:
    """What a member that begins has to tell before it trains: nothing, or the epoch that was not heard of."""
    if member.has_begun:
        return None
    try:
        member.begin()
    except StorageError:
        raise
    except BaseException as error:  # whatever a model raises ends its trial, with the text kept, and not the sweep
        return failure_of(error)
    return member.known_report()


def _trained(group: Sequence[Member]) -> dict[str, Outcome]:
    """An epoch of some that train in one step; one by one where that raises, to find whose fault it was."""
    try:
        with group[0].own_settings():
            reports = train_together([member.trainer for member in group])
    except StorageError:
        raise
    except BaseException as error:
        if len(group) == 1:
            return {group[0].id: failure_of(error)}
    else:
        return {member.id: report for member, report in zip(group, reports, strict=True)}
    alone = [_trained([member]) for member in group]
    return {trial: outcome for found in alone for trial, outcome in found.items()}
