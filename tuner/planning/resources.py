"""What lanes get of the machine or the cluster, and how many trials run at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

import torch

from trainables.config import TrialConfig
from trainables.cores import Cores
from trainables.data.dataset import DataFacts, held_on_device
from trainables.errors import ConfigError
from trainables.grouping import grouped
from trainables.training.members import cheapest_width
from tuner.cluster.capacity import Capacity
from tuner.sweeps.spec import Resources, Search

_SCALING = "if the cluster scales up, set how many lanes there are with --lanes"
LEARNING = ("tpe", "nsga2")
"""The samplers that learn from finished trials."""


def auto_device(resources: Resources, device: str, capacity: Capacity) -> tuple[str, list[str]]:
    """The device of a trial, and what the user should know of it: `auto` is `cuda` where a trial gets a GPU.

    The GPUs that a trial is given count, whatever the nodes have now. Raises ConfigError where neither tells.
    """
    chosen, cpus = resources.gpus_per_trial, resources.cpus_per_trial
    if device != "auto":
        return device, []
    if isinstance(chosen, float):
        return ("cuda" if chosen else "cpu"), []
    if capacity.gpus:
        return "cuda", []
    if capacity.address is None:
        return "cpu", []
    if capacity.slots(cpus, 0):
        return "cpu", [
            "the cluster has no GPU now: trials run on CPUs; if nodes with GPUs will join, pass --gpus-per-trial 1"
        ]
    if chosen == "auto":
        return "cuda", []
    if _too_much(cpus, 0, capacity):
        raise ConfigError(
            f"resources.cpus_per_trial: {_no_room(cpus, 0, capacity)}; ask for less with --cpus-per-trial"
        )
    raise ConfigError(
        f"resources.gpus_per_trial: the cluster at {capacity.address} has no node for a lane of {cpus:g} CPU yet: say "
        "--gpus-per-trial 1 (or 0 to train on CPUs) and --lanes"
    )


def gpus_of(
    resources: Resources, device: str, capacity: Capacity, measured: Callable[[], tuple[float, list[str]]]
) -> tuple[float, list[str]]:
    """The GPUs of a trial, and what the user should know of them. measured: what `auto` is where there is a GPU.

    Refuses what this machine lacks: Tune would wait for it for ever; and trials on a GPU that they are not given.
    """
    chosen = resources.gpus_per_trial
    if chosen == "auto" and device == "cpu":
        return 0.0, ["gpus_per_trial: auto is 0, as trials run on the CPU"]
    gpus = float(device != "cpu") if chosen in ("auto", None) else float(chosen)
    if device.startswith("cuda") and not gpus:
        raise ConfigError(
            f"device: {device} needs a GPU and resources.gpus_per_trial is 0; use --set device=cpu or "
            "--gpus-per-trial 1"
        )
    if capacity.address is None and gpus > capacity.gpus:
        field = f"device: {device}" if chosen in ("auto", None) else f"resources.gpus_per_trial: {chosen:g}"
        raise ConfigError(
            f"{field} needs {gpus:g} GPU and this machine has {capacity.gpus:g}; use --device cpu --gpus-per-trial 0"
        )
    return measured() if chosen == "auto" else (gpus, [])


def lanes_of(resources: Resources, gpus: float, capacity: Capacity, members: int) -> int:
    """How many workers train; raises ConfigError where none can, now or ever.

    members: the most trials of each; so many trials at once as are asked for have room, whatever the cores.
    """
    cpus = resources.cpus_per_trial
    if capacity.address is None and cpus > capacity.most_cpus:
        raise ConfigError(
            f"resources.cpus_per_trial: {cpus:g} is not allowed; allowed: at most {capacity.most_cpus:g}, the cores "
            f"{f'that {capacity.limit} allots' if capacity.limit else 'of this machine'}"
        )
    if resources.lanes != "auto":
        return resources.lanes
    slots = capacity.slots(cpus, gpus)
    if resources.concurrency != "auto":
        return max(slots, math.ceil(resources.concurrency / members))
    if slots:
        return slots
    if capacity.address is None:
        return 1
    if asked := _too_much(cpus, gpus, capacity):
        less = f"ask for less with --{asked.replace('_', '-')}"
        raise ConfigError(f"resources.{asked}: {_no_room(cpus, gpus, capacity)}; {less}, or {_SCALING}")
    raise ConfigError(f"resources.lanes: auto: {_no_room(cpus, gpus, capacity)}; {_SCALING}")


def members_of(resources: Resources, config: TrialConfig, shape: tuple[int, ...]) -> int:
    """The most trials of a lane. config: the default one."""
    if resources.members != "auto":
        return resources.members
    return cheapest_width(config, shape) if config.device == "cpu" else 1


def most_at_once(resources: Resources, search: Search, seeds: int) -> int | None:
    """How many trials may run at once, whatever has room; None for any number. Of a search that learns a quarter: with
    all at once it would learn nothing. seeds: of each configuration."""
    if resources.concurrency != "auto":
        return resources.concurrency
    learns = search.sampler in LEARNING and not search.points
    return max(1, search.trials * seeds // 4) if learns else None


def trials_at_once(most: int | None, lanes: int, members: int) -> int:
    """min(most, lanes × members)."""
    return lanes * members if most is None else min(most, lanes * members)


def _too_much(cpus: float, gpus: float, capacity: Capacity) -> str | None:
    """The field that asks for more than any node has, where there is one that trains."""
    if capacity.most_cpus == 0:
        return None
    if capacity.most_cpus < cpus:
        return "cpus_per_trial"
    return "gpus_per_trial" if max(node.gpus for node in capacity.nodes) < gpus else None


def _no_room(cpus: float, gpus: float, capacity: Capacity) -> str:
    needed = f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
    if not capacity.nodes:
        return f"the cluster at {capacity.address} has no nodes now"
    return (
        f"a lane of {needed} fits on no node that the cluster at {capacity.address} has now, the biggest has "
        f"{capacity.biggest}"
    )


def capacity_notes(resources: Resources, gpus: float, lanes: int, capacity: Capacity) -> list[str]:
    """What was counted, where that is not the whole machine; and that lanes wait, where none fits on any node."""
    if capacity.address is None:
        return [f"{Cores(int(capacity.most_cpus), capacity.limit).says}, are used"] if capacity.limit else []
    if not capacity.slots(resources.cpus_per_trial, gpus):
        return [
            f"{_no_room(resources.cpus_per_trial, gpus, capacity)}: trials wait until the cluster scales up; if it "
            "does not, stop, and ask for less with --cpus-per-trial or --gpus-per-trial (0 to train on CPUs)"
        ]
    if resources.lanes != "auto":
        return []
    nodes = f"{len(capacity.nodes)} node{'s' if len(capacity.nodes) > 1 else ''}"
    return [f"{lanes} lanes fit on the {nodes} that the cluster has now, more where nodes are added; {_SCALING}"]


def members_notes(resources: Resources, device: str) -> list[str]:
    """That on a GPU nothing is measured."""
    if resources.members != "auto" or device == "cpu":
        return []
    return ["members: auto is 1 on a GPU: each lane trains one trial at a time; small models train faster with more"]


class Share(NamedTuple):
    """What decides what a trial adds to the time of its lane. group: equal for trials that train in one step. steps: of
    an epoch."""

    group: Hashable
    steps: int


MEMBER_COST = 0.2
"""What a trial adds to a step of several, over what any step costs: measured on models as small as the digits'."""


def epoch_cost(shares: Iterable[Share]) -> float:
    """Σ over the groups of (1 + .2·n)·steps: how long an epoch of a lane takes, in steps of overhead alone."""
    groups = grouped((share, share) for share in shares)
    return sum((1 + MEMBER_COST * len(members)) * share.steps for share, members in groups.items())


def memory_share(gpus: float, lanes: int) -> float:
    """The part of its device's memory that a lane may count on."""
    return min(1.0, gpus) if gpus else 1 / lanes


def placement_notes(config: TrialConfig, facts: DataFacts, memory_share: float) -> list[str]:
    device = torch.device(config.device).type
    if held_on_device(facts.train_bytes, torch.device(device), memory_share):
        return []
    return [
        f"the training examples take {facts.train_bytes / 2**30:.1f} GiB, more than a quarter of a lane's share of "
        f"the {device}'s memory: they stay in host memory, and batches are fetched ahead of their steps"
    ]
