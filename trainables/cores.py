"""The cores of this machine that this process may use: those it is bound to, its cgroup's quota, Slurm's allotment."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

SLURM = ("SLURM_CPUS_ON_NODE", "SLURM_CPUS_PER_TASK", "SLURM_JOB_CPUS_PER_NODE")


class Cores(NamedTuple):
    """n: at least one. limit: what allots fewer than the machine has, None where nothing does."""

    n: int
    limit: str | None = None

    @property
    def says(self) -> str:
        """`1 of 8 cores, by SLURM_CPUS_PER_TASK`, or `8 cores`."""
        there = os.cpu_count() or 1
        return f"{self.n} of {there} cores, by {self.limit}" if self.limit else f"{self.n} cores"


def allotted_cores(environment: Mapping[str, str] | None = None, root: Path = Path("/")) -> Cores:
    """The fewest cores that any of the limits allots; a quota of a fraction of a core counts as one.

    root: where `proc` and `sys` are found.
    """
    machine = os.cpu_count() or 1
    limits = [*_affinity(), *_quotas(root), *_slurm(os.environ if environment is None else environment)]
    least = min(limits, default=Cores(machine))
    return Cores(max(1, least.n), least.limit) if least.n < machine else Cores(machine)


def _affinity() -> Iterator[Cores]:
    if sys.platform == "linux":
        yield Cores(len(os.sched_getaffinity(0)), "the affinity of this process")


def _slurm(environment: Mapping[str, str]) -> Iterator[Cores]:
    """In a job on several nodes one variable names the cores of all nodes, once for nodes with equal numbers."""
    for name in SLURM:
        if found := re.fullmatch(r"([1-9]\d*)(?:\(x\d+\))?", environment.get(name, "")):
            yield Cores(int(found[1]), name)


def _quotas(root: Path) -> Iterator[Cores]:
    """The quotas of the cgroups that this process is in, each after its parents. In version 2 `cpu.max` holds quota and
    period, in microseconds; version 1 has a file for each.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, kinds, path = line.split(":", 2)
        if number != "0" and "cpu" not in kinds.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("" if number == "0" else "cpu")
        files = ["cpu.max"] if number == "0" else ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        folder = mount / path.lstrip("/")
        for group in (folder, *folder.parents):
            if group.is_relative_to(mount):  # in a container the path may be the host's, of which nothing is seen
                yield from _quota(" ".join(_text(group / file) for file in files))


def _quota(text: str) -> Iterator[Cores]:
    if found := re.fullmatch(r"\s*([1-9]\d*)\s+([1-9]\d*)\s*", text):
        yield Cores(int(found[1]) // int(found[2]), "the quota of its cgroup")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
