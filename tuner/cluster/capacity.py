"""What the machine, or each node of a Ray cluster, has for trials, and how many fit on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from trainables.cores import allotted_cores
from tuner.cluster.ray_address import connect
from tuner.cluster.ray_thread import done_by_ray_thread

GRAIN = 10_000  # Ray counts resources in steps of 1e-4
LOOK_SECONDS = 5.0


@dataclass(frozen=True)
class Node:
    """One machine. cpus, gpus: what Ray may give to trials there."""

    cpus: float
    gpus: float = 0.0

    def slots(self, cpus: float, gpus: float) -> int:
        """How many trials of these shares fit; a share of less than a GPU lies on one GPU."""
        found = [_fit(self.cpus, cpus)] if cpus else []
        if gpus:
            found.append(int(self.gpus) * _fit(1, gpus) if gpus <= 1 else _fit(self.gpus, gpus))
        return min(found, default=0)

    def __str__(self) -> str:
        return f"{self.cpus:g} CPU and {self.gpus:g} GPU"


@dataclass(frozen=True)
class Capacity:
    """nodes: of this machine the one. address: of the Ray cluster they belong to, None for this machine. limit: what
    allots fewer cores than this machine has.
    """

    nodes: tuple[Node, ...]
    address: str | None = None
    limit: str | None = None

    @property
    def gpus(self) -> float:
        return sum(node.gpus for node in self.nodes)

    @property
    def biggest(self) -> Node:
        """The node with the most GPUs, and of those the most CPUs."""
        return max(self.nodes, key=lambda node: (node.gpus, node.cpus), default=Node(0))

    @property
    def most_cpus(self) -> float:
        return max((node.cpus for node in self.nodes), default=0.0)

    def slots(self, cpus: float, gpus: float) -> int:
        """How many trials of these shares fit at once, node by node.

        On this machine trials on GPUs are not counted by CPUs: its Ray is started with as many as they need.
        """
        by_cpus = 0.0 if gpus and self.address is None else cpus
        return sum(node.slots(by_cpus, gpus) for node in self.nodes)


def _fit(whole: float, part: float) -> int:
    return round(whole * GRAIN) // max(1, round(part * GRAIN))


def capacity_of(address: str | None) -> Capacity:
    """The nodes of this machine, or of the cluster at an address, which is joined. Raises UserError where none answers
    there."""
    if address is not None:
        return done_by_ray_thread(partial(_joined, address))
    connect(None)
    cores = allotted_cores()
    return Capacity((Node(cores.n, torch.cuda.device_count()),), limit=cores.limit)


def _joined(address: str) -> Capacity:
    """The nodes of a cluster, joined and asked in one piece of work: another sweep of this process may leave it for its
    own the next moment."""
    connect(address)
    return cluster_now(address)


def cluster_now(address: str | None = None) -> Capacity:
    """The nodes that Ray, which this process is connected to, has at the moment."""
    import ray

    return Capacity(tuple(_node(each) for each in ray.nodes() if each["Alive"]), address)


def node_here() -> Node:
    """The node that this process, a task or an actor of Ray's, runs on."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    return next(_node(each) for each in ray.nodes() if each["NodeID"] == here)


def _node(told: Mapping[str, Any]) -> Node:
    """A node as Ray tells of it."""
    return Node(told["Resources"].get("CPU", 0.0), told["Resources"].get("GPU", 0.0))


def growing(
    planned: int,
    slots: Callable[[], int],
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[], int]:
    """How many trials may run at once on a cluster that changes: what fits, looked up every few seconds.

    It never falls: a trial whose node is lost waits for a place in Ray, where an autoscaler sees it and brings one.
    """
    most, looked = planned, clock()

    def now() -> int:
        nonlocal most, looked
        if clock() - looked >= LOOK_SECONDS:
            most, looked = max(most, slots()), clock()
        return most

    return now
