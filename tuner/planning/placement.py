"""What the trials of a plan get: how many lanes there are, and how many of the trials train at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.config import TrialConfig
from tuner.cluster.capacity import Capacity, capacity_of
from tuner.planning.memory_probe import measured_share
from tuner.planning.resources import (
    Share,
    capacity_notes,
    epoch_cost,
    gpus_of,
    lanes_of,
    members_notes,
    members_of,
    memory_share,
    most_at_once,
    trials_at_once,
)
from tuner.sweeps.spec import SweepSpec


@dataclass(frozen=True)
class Placement:
    """gpus: of a lane. lanes: how many workers train. members: the most trials of each. most: how many trials may train
    at once, however many lanes there are, None for any number. concurrency: how many do.
    """

    gpus: float
    lanes: int
    members: int
    most: int | None
    concurrency: int

    @property
    def memory_share(self) -> float:
        """The part of its device's memory that a lane may count on."""
        return memory_share(self.gpus, self.lanes)

    @property
    def speedup(self) -> float:
        """By what factor trials come faster than one after the other, as far as that can be known beforehand."""
        in_lane = math.ceil(self.concurrency / self.lanes)
        alone, together = (epoch_cost([Share(None, 1)] * n) for n in (1, in_lane))
        return self.concurrency * alone / together


def placement_of(
    spec: SweepSpec,
    seeds: int,
    default: TrialConfig,
    shape: tuple[int, ...],
    room: Capacity,
    root: Path,
    biggest: Callable[[], TrialConfig],
) -> tuple[Placement, Sequence[str]]:
    """What the trials of a spec get.

    Parameters
    ----------
    spec
        Of the sweep.
    seeds
        Of each configuration.
    default
        The configuration that is tried first, resolved.
    shape
        Of an example.
    room
        Of this machine or the cluster.
    root
        Folder of the built-in data sets.
    biggest
        The largest configuration, which is tried on a GPU where its share of one is to be measured.

    Returns
    -------
    tuple of Placement and sequence of str
        And what the user should know of it.

    Raises
    ------
    UserError
        No trial fits, now or ever.
    """
    resources = spec.resources
    members = members_of(resources, default, shape)

    def measured() -> tuple[float, list[str]]:
        nonlocal room
        lanes_of(resources, 1.0, room, members)  # refused before a GPU is asked for
        found = measured_share(biggest(), root, room, resources.cpus_per_trial)
        if room.address is not None:  # which may have grown for it
            room = capacity_of(room.address)
        return found

    gpus, gpu_notes = gpus_of(resources, default.device, room, measured)
    lanes, most = lanes_of(resources, gpus, room, members), most_at_once(resources, spec.search, seeds)
    concurrency = trials_at_once(most, lanes, members)
    notes = (*gpu_notes, *capacity_notes(resources, gpus, lanes, room), *members_notes(resources, default.device))
    return Placement(gpus, min(lanes, concurrency), members, most, concurrency), notes
