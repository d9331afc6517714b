"""Which sweeps of this process use Ray, from the first look at it to the end of their trials: a process can have one.

All of it happens in the ray thread, one after the other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainables.errors import UserError
from tuner.cluster.worker_environment import keys_of_storage


@dataclass(frozen=True, eq=False)
class RayUse:
    """A sweep that uses Ray. address: of its cluster, None for this machine. storage: where its trials keep files."""

    address: str | None
    storage: str
    keys: Mapping[str, str] = field(init=False, repr=False)
    """The variables for object storage that its workers need and get from the Ray that is started here."""

    def __post_init__(self) -> None:
        keys = keys_of_storage(os.environ, self.storage) if self.address is None else {}
        object.__setattr__(self, "keys", keys)


_users: list[RayUse] = []


def in_use() -> bool:
    """Whether a sweep of this process uses Ray."""
    return bool(_users)


def first() -> RayUse:
    """The first of the sweeps that use Ray now: it is started with what this one's workers need."""
    return _users[0]


def begin(use: RayUse) -> None:
    """Count one more sweep on a Ray that `check_shared` has accepted. Raises UserError where its workers need other
    keys than Ray gives to all of them: they would lack some, or see another sweep's."""
    given = first().keys if in_use() else use.keys
    others = sorted(name for name in {*given, *use.keys} if given.get(name) != use.keys.get(name))
    if others:
        raise UserError(
            f"storage: {use.storage} needs another {', '.join(others)} in its workers, or none, than "
            f"{first().storage} of another sweep of this process, and Ray gives all workers the same; wait for "
            "its end, or run this one in a process of its own"
        )
    _users.append(use)


def end(use: RayUse) -> bool:
    """Count one sweep fewer; returns whether it was the last."""
    if use not in _users:
        return False
    _users.remove(use)
    return not _users


def check_shared(address: str | None) -> None:
    """Raises UserError where sweeps of this process use another Ray."""
    if in_use() and address != first().address:
        used = first().address
        where = f"on the Ray cluster at {used}" if used else "on the Ray of this machine"
        raise UserError(
            f"resources.ray_address: another sweep of this process runs {where}, and a process can use one; wait for "
            "its end, or run this one in a process of its own"
        )
