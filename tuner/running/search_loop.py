"""Tune's loop of a session: what it is made of, and what its errors mean."""

from __future__ import annotations

import json
import signal
import uuid
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
from tuner.planning.resources import trials_at_once
from tuner.running.decisions import Decisions
from tuner.running.dispatcher import Dispatcher, OrdersLostError
from tuner.running.handing_out import HandingOut
from tuner.running.lanes import Lanes, Post
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

        from trainables.worker.ray_tune import LaneTrainable
        from tuner.running.order_desk import order_desk
        from tuner.running.tune_scheduler import LaneScheduler, SearchIsOver
        from tuner.running.tune_searcher import LaneSearcher

    # Tune would hand AWS's keys to every worker, by way of Ray's logs; nodes have their own.
    class_cache.ENV_VARS_TO_PROPAGATE = set()

    # Under a name of its own, and one after the other: Tune keeps one registry for all threads, which may not share it.
    name = f"{LaneTrainable.__name__}-{session.journal.session}"
    trainable = tune.with_resources(LaneTrainable, places(session.plan))
    done_by_ray_thread(partial(tune.register_trainable, name, trainable))
    desk = f"orders-{uuid.uuid4()}"
    # SIGUSR1 is Tune's own way to be stopped.
    with order_desk(desk) as post, TemporaryDirectory() as scratch, handler_kept(signal.SIGUSR1):
        dispatcher = dispatcher_of(session.plan, session.journal, post)
        try:
            tune.Tuner(
                name,
                param_space={**given_to_lanes(session), "desk": desk},
                tune_config=tune.TuneConfig(
                    search_alg=LaneSearcher(dispatcher),
                    scheduler=LaneScheduler(dispatcher),
                    num_samples=-1,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    verbose=0,
                    stop=SearchIsOver(dispatcher),
                    callbacks=_callbacks(session, dispatcher),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            ).fit()
        except Exception as error:
            _accept(error, session.journal, dispatcher)
            return False
    return True


def given_to_lanes(session: Session) -> dict[str, Any]:
    """What every lane is given."""
    plan = session.plan
    return {
        "folder": session.trials,
        "data_dir": str(plan.data_dir),
        "memory_share": plan.placement.memory_share,
        "working_dir": str(Path.cwd()),
        "session": session.journal.session,
        "identity": json.dumps(plan.identity.document()),
        **_ranking_given(plan),
    }


def _callbacks(session: Session, dispatcher: Dispatcher) -> list[Any]:
    from tuner.running.exclusive_trials import AloneWatch
    from tuner.running.silence import SilenceWatch, kill_worker
    from tuner.running.stop_watch import StopWatch
    from tuner.running.tune_scheduler import LaneStarts

    resources = session.plan.spec.resources
    return [
        StopWatch(session.signals, session.shared.stays, dispatcher, kill_worker),
        LaneStarts(dispatcher),
        AloneWatch(resources.cpus_per_trial, lambda: cluster_now().most_cpus),
        SilenceWatch(session.journal, resources.epoch_timeout, session.shown.silent, dispatcher, kill_worker),
    ]


def _accept(error: Exception, journal: Journal, dispatcher: Dispatcher) -> None:
    """Take an error of Tune's loop after which the journal goes on, and write down what it means; raises any other."""
    from ray.exceptions import OutOfMemoryError

    from tuner.running.exclusive_trials import NodeGoneError
    from tuner.running.stop_watch import StopAskedError

    if _inner(error, StopAskedError) or _inner(error, OrdersLostError):
        return
    if killed := _inner(error, OutOfMemoryError):
        dispatcher.charge_memory(str(killed))
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


def dispatcher_of(plan: Plan, journal: Journal, post: Post) -> Dispatcher:
    """What stands between the journal and the lanes, fresh: all it knows is in the journal."""
    placed = plan.placement
    n_lanes = growing(placed.lanes, lambda: _slots(plan)) if plan.follows_cluster else lambda: placed.lanes

    def at_once() -> int:
        return trials_at_once(placed.most, n_lanes(), placed.members)

    decisions, handing_out = algorithms(plan, journal, at_once if plan.follows_cluster else plan.concurrency)
    lanes = Lanes(placed.members, post)
    return Dispatcher(journal, decisions, handing_out, lanes, lambda: min(n_lanes(), at_once()))


def algorithms(
    plan: Plan, journal: Journal, at_once: int | Callable[[], int] | None = None
) -> tuple[Decisions, HandingOut]:
    """What decides and what hands out, fresh: all they know is in the journal. at_once: how many trials, by default as
    planned."""
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
        concurrency=plan.concurrency if at_once is None else at_once,
        settle=decisions.settle,
        is_spent=spent,
    )
    return decisions, handing_out


def _slots(plan: Plan) -> int:
    """How many lanes fit on the cluster now."""
    address = plan.spec.resources.ray_address
    return cluster_now(address).slots(plan.spec.resources.cpus_per_trial, plan.gpus_per_trial)


def places(plan: Plan) -> Callable[[Mapping[str, Any]], Any]:
    """What a lane asks Ray for; one for a trial that runs alone a whole GPU, or all the cores of a node.

    Tune asks as a lane is opened: of the nodes there are then.
    """
    from ray.tune import PlacementGroupFactory

    cpus, gpus = plan.spec.resources.cpus_per_trial, plan.gpus_per_trial
    shared = {"CPU": cpus, "GPU": gpus}

    def alone() -> dict[str, float]:
        return {"CPU": cpus, "GPU": max(1.0, gpus)} if gpus else {"CPU": max(cpus, cluster_now().most_cpus)}

    return lambda config: PlacementGroupFactory([alone() if config["alone"] else shared])
