"""What the driver orders the lanes of a sweep to do, and the desk from which each takes its orders."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Orders:
    """What a lane does before its next epoch: these trials leave it, those begin, or it ends.

    stop: the trials' ids. start: what each is given, as `Member` takes it. end: all leave.
    """

    stop: tuple[str, ...] = ()
    start: tuple[Mapping[str, Any], ...] = ()
    end: bool = False


class Desk:
    """Where orders lie until they are taken. An actor of Ray's; the n-th orders of a lane are those of its turn n, so
    that they may be asked for again.
    """

    def __init__(self) -> None:
        self._orders: dict[tuple[int, int], asyncio.Future[Orders]] = {}

    async def post(self, lane: int, turn: int, orders: Orders) -> None:
        self._of(lane, turn).set_result(orders)

    async def take(self, lane: int, turn: int) -> Orders:
        """Wait for the orders of a lane's turn; it has taken those before."""
        self._orders.pop((lane, turn - 1), None)
        return await asyncio.shield(self._of(lane, turn))

    def _of(self, lane: int, turn: int) -> asyncio.Future[Orders]:
        return self._orders.setdefault((lane, turn), asyncio.get_running_loop().create_future())
