"""Tune's loop of a session: what it is made of, and what its errors mean."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from trainables.config.paths import unflatten
from trainables.errors import StorageError
from trainables.importing import uncollected
from trainables.ranking import BEST
from tuner.cluster.capacity import cluster_now, growing
from tuner.cluster.ray_thread import done_by_ray_thread
from tuner.cluster.signals import StopSignal, handler_kept
from tuner.planning.plans import Plan
from tuner.running.decisions import Decisions
from tuner.running.handing_out import HandingOut
from tuner.running.lost_workers import OUT_OF_MEMORY
from tuner.running.session import Session
from tuner.sweeps.events import Warned
from tuner.sweeps.journal import Journal
from tuner.sweeps.status import is_spent
from tuner.tracking.tracker import Tracker

ErrorT = TypeVar("ErrorT", bound=BaseException)


def run(session: Session, tracker: Tracker | None) -> None:
    """Run Tune on Ray until the search ends; raises StopSignal where a signal asks it to stop."""
    if tracker is not None:
        tracker.start()  # which opens MLflow's database, or makes it, while Ray starts
    with session.shared.started(session.plan.cpus), session.told_before_ray_ends():
        while not _fitted(session):
            if session.signals.received:
                raise StopSignal


def _fitted(session: Session) -> bool:
    """Run Tune to its end; False where a signal asks it to stop, or it has to begin anew from the journal.

    It has to where Ray has killed a worker for lack of memory, which Tune does not survive, or a trial waits for a node
    that is gone.
    """
    with uncollected():
        from ray import tune
        from ray.tune.execution import class_cache

        from trainables.worker.ray_tune import VaeTrainable
        from tuner.running.exclusive_trials import AloneWatch
        from tuner.running.silence import SilenceWatch, kill_worker
        from tuner.running.stop_watch import StopWatch
        from tuner.running.tune_scheduler import JournalScheduler
        from tuner.running.tune_searcher import JournalSearcher

    # Tune would hand AWS's keys to every worker, by way of Ray's logs; nodes have their own.
    class_cache.ENV_VARS_TO_PROPAGATE = set()

    plan, journal = session.plan, session.journal
    resources, silent = plan.spec.resources, session.shown.silent
    decisions, handing_out = algorithms(plan, journal)
    scheduler = JournalScheduler(decisions)
    given = {
        "folder": session.trials,
        "data_dir": str(plan.data_dir),
        "memory_share": plan.memory_share,
        "working_dir": str(Path.cwd()),
        "session": journal.session,
        "identity": json.dumps(plan.identity.document()),
        **_ranking_given(plan),
    }
    # Under a name of its own, and one after the other: Tune keeps one registry for all threads, which may not share it.
    name = f"{VaeTrainable.__name__}-{journal.session}"
    trainable = tune.with_resources(VaeTrainable, places(plan))
    done_by_ray_thread(partial(tune.register_trainable, name, trainable))
    try:
        # SIGUSR1 is Tune's own way to be stopped.
        with TemporaryDirectory() as scratch, handler_kept(signal.SIGUSR1):
            tune.Tuner(
                name,
                param_space=given,
                tune_config=tune.TuneConfig(
                    search_alg=JournalSearcher(handing_out), scheduler=scheduler, num_samples=-1, reuse_actors=True
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[
                        StopWatch(session.signals, session.shared.stays, kill_worker),
                        AloneWatch(resources.cpus_per_trial, lambda: cluster_now().most_cpus),
                        SilenceWatch(journal, resources.epoch_timeout, silent, decisions.expire, kill_worker),
                    ],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            ).fit()
    except Exception as error:
        _accept(error, journal, partial(charge_memory, decisions, handing_out, scheduler.ips))
        return False
    return True


def _accept(error: Exception, journal: Journal, charge: Callable[[str], None]) -> None:
    """Take an error of Tune's loop after which the journal goes on, and write down what it means; raises any other.

    charge: takes Ray's message where memory ran out."""
    from ray.exceptions import OutOfMemoryError

    from tuner.running.exclusive_trials import NodeGoneError
    from tuner.running.stop_watch import StopAskedError

    if _inner(error, StopAskedError):
        return
    if killed := _inner(error, OutOfMemoryError):
        charge(str(killed))
    elif gone := _inner(error, NodeGoneError):
        journal.append(Warned(gone.trial, str(gone)))
    elif full := _inner(error, StorageError):
        raise full from None
    else:
        raise error


def _ranking_given(plan: Plan) -> dict[str, str]:
    """What a worker that keeps the best epoch's checkpoint must know; JSON, which Tune cannot take apart."""
    if plan.ranking.kind != BEST:
        return {}
    return {"ranking": json.dumps(vars(plan.ranking)), "patience": json.dumps(plan.spec.scheduler.patience)}


def _inner(error: BaseException | None, kind: type[ErrorT]) -> ErrorT | None:
    """The error of this kind that another was raised from or over: Tune wraps what is raised in its loop."""
    while error is not None and not isinstance(error, kind):
        error = error.__cause__ or error.__context__
    return error


def algorithms(plan: Plan, journal: Journal) -> tuple[Decisions, HandingOut]:
    """What decides and what hands out, fresh: all they know is in the journal."""
    search = plan.spec.search
    spent = partial(is_spent, plan.spec.budget, journal)
    retries, patience = plan.spec.resources.retries, plan.spec.scheduler.patience
    decisions = Decisions(journal, plan.metric, plan.epochs, plan.rule, spent, retries, patience)
    handing_out = HandingOut(
        journal,
        plan.space,
        unflatten(plan.base),
        plan.trial,
        sampler=search.sampler,
        seed=search.seed,
        n_trials=search.trials,
        more=journal.sweep.more,
        points=search.points,
        seeds=plan.seeds,
        concurrency=growing(plan.concurrency, lambda: _slots(plan)) if plan.follows_cluster else plan.concurrency,
        settle=decisions.settle,
        is_spent=spent,
    )
    return decisions, handing_out


def _slots(plan: Plan) -> int:
    """How many trials fit on the cluster now."""
    address = plan.spec.resources.ray_address
    return cluster_now(address).slots(plan.spec.resources.cpus_per_trial, plan.gpus_per_trial)


def places(plan: Plan) -> Callable[[Mapping[str, Any]], Any]:
    """What a trial asks Ray for; one that runs alone a whole GPU, or all the cores of a node.

    Tune asks as a trial is handed out: of the nodes there are then.
    """
    from ray.tune import PlacementGroupFactory

    cpus, gpus = plan.spec.resources.cpus_per_trial, plan.gpus_per_trial
    shared = {"CPU": cpus, "GPU": gpus}

    def alone() -> dict[str, float]:
        return {"CPU": cpus, "GPU": max(1.0, gpus)} if gpus else {"CPU": max(cpus, cluster_now().most_cpus)}

    return lambda config: PlacementGroupFactory([alone() if config["alone"] else shared])


def charge_memory(decisions: Decisions, handing_out: HandingOut, ips: Mapping[str, str], message: str) -> None:
    """All that ran on a node shared its memory, which was too little: each goes on from its last checkpoint, alone.

    ips: where each trial was heard of last. message: Ray's, which names the node. A trial of which nothing was heard
    may have run there too.
    """
    for trial in handing_out.running():
        ip = ips.get(trial.id)
        if ip is None or "(IP: " not in message or f"(IP: {ip}," in message:
            decisions.fail(trial, OUT_OF_MEMORY, "memory")
