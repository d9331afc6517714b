"""κ_min, measured where the trials train: in a process of its own here, or on a node of the cluster."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryFile

from trainables.config.paths import plain
from trainables.worker.kappa_min import Reach, ReachRun, least, reach_config
from tuner.cluster.ray_session import stdout_on_stderr
from tuner.cluster.worker_environment import seen_by_workers
from tuner.planning.plans import Plan

Measuring = Callable[[int], AbstractContextManager[Callable[[], None]]]
"""Of so many epochs: what is called after each."""


def unseen(n_epochs: int) -> AbstractContextManager[Callable[[], None]]:
    """Shows nothing."""
    return nullcontext(lambda: None)


class _FailedError(Exception):
    """No κ_min could be measured, for this cause."""


def reached(plan: Plan, measuring: Measuring = unseen) -> Plan:
    """The plan with κ_min known, where it awaits it; without it, and told why, where it cannot be measured.

    Raises ConfigError for a range of κ of the user's own that is none then.
    """
    return measured(plan, measuring) if plan.awaits_reach else plan


def measured(plan: Plan, measuring: Measuring = unseen) -> Plan:
    """The same for a plan of which it is not known whether it awaits it."""
    config = reach_config(plan.biggest)
    request = {"config": json.dumps(plain(config)), "data_dir": str(plan.data_dir), "working_dir": str(Path.cwd())}
    try:
        with measuring(config.epochs) as on_epoch:
            found = least(_told(epochs_of(plan, request, config.epochs), on_epoch))
        return plan.with_reach(found) if found else unreached(plan, "the run diverged")
    except _FailedError as error:
        return unreached(plan, str(error))


def unreached(plan: Plan, cause: str) -> Plan:
    """The plan without κ_min, and with a note that says why."""
    told = f"κ_min could not be measured: {cause}; GECO's κ begins at a share of κ_max"
    return replace(plan.with_reach({}), remarks=(*plan.remarks, told))


def _told(epochs: Iterator[Reach], on_epoch: Callable[[], None]) -> Iterator[Reach]:
    for reach in epochs:
        on_epoch()
        yield reach


def epochs_of(plan: Plan, request: Mapping[str, str], n_epochs: int) -> Iterator[Reach]:
    """κ_min after each epoch, measured where the trials of a plan train."""
    if plan.spec.resources.ray_address is None:
        return epochs_here(request)
    return epochs_on_cluster(request, n_epochs, plan.spec.resources.cpus_per_trial, plan.gpus_per_trial)


def epochs_here(request: Mapping[str, str]) -> Iterator[Reach]:
    """In a process of its own, which ends with this one, not by its signals: what it takes of a GPU is given back."""
    command = [sys.executable, "-P", "-m", "trainables.worker.kappa_min", json.dumps(request)]
    environment = seen_by_workers(os.environ, "")
    with (
        TemporaryFile("w+") as said,
        Popen(
            command, stdin=PIPE, stdout=PIPE, stderr=said, text=True, env=environment, start_new_session=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                yield json.loads(line)
            if process.wait():
                said.seek(0)
                raise failure(said.read())
        finally:
            process.kill()


def epochs_on_cluster(request: Mapping[str, str], n_epochs: int, cpus: float, gpus: float) -> Iterator[Reach]:
    """On a node of the cluster that was joined."""
    import ray

    with stdout_on_stderr():
        run = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(ReachRun).remote(request)
        try:
            for _ in range(n_epochs):
                yield ray.get(run.epoch.remote())
        except ray.exceptions.RayError as error:
            raise failure(str(error)) from None
        finally:
            ray.kill(run)


def failure(said: str) -> _FailedError:
    """What a run that failed said last."""
    return _FailedError((said.strip() or "its process died").splitlines()[-1])
