"""A plan run to its end, or a sweep that was cut short: journal, Ray, Tune's loop, MLflow beside it."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeVar

from trainables.config.paths import unflatten
from trainables.errors import StorageError
from trainables.ranking import BEST
from tuner.cluster.capacity import cluster_now, growing
from tuner.cluster.ray_session import stdout_on_stderr
from tuner.cluster.ray_thread import done_by_ray_thread
from tuner.cluster.shared_ray import SharedRay
from tuner.cluster.signals import STOPPING, Signals, StopSignal, handler_kept, stop_signals
from tuner.planning.checks import require_ready
from tuner.planning.plans import Plan
from tuner.running.lost_workers import OUT_OF_MEMORY
from tuner.running.reach import Measuring, reached, unseen
from tuner.running.resuming import resumed_plan
from tuner.running.sweep_result import SweepResult, result_of
from tuner.sweeps.folder import HeldSweep, named_after
from tuner.sweeps.journal import Journal, close_session
from tuner.sweeps.lease import FencedError
from tuner.sweeps.places import trials_of
from tuner.sweeps.resumable import named
from tuner.sweeps.spec import public, spec_yaml
from tuner.sweeps.state import Sweep
from tuner.sweeps.status import is_spent
from tuner.sweeps.storage import open_storage
from tuner.sweeps.tracking_uri import without_secret
from tuner.tracking.sweep_store import place_of
from tuner.tracking.tracker import Tracker, resolve_uri

__all__ = ["Progress", "header_of", "resume_sweep", "run_sweep", "silent"]

SEND_SECONDS = 120.0
SEND_SECONDS_AFTER_A_SIGNAL = 6.0
"""From the signal on, of the ten in which the process has to end; what is left is for `sync`."""
LEAST_SEND_SECONDS = 2.0
"""What MLflow is given where Ray has taken longer, so that no run is left as RUNNING there."""

ErrorT = TypeVar("ErrorT", bound=BaseException)


class Progress(Protocol):
    """What is told of a running sweep."""

    def event(self, event: Mapping[str, Any]) -> None:
        """A line was written to the journal."""

    def sending(self, unsent: int, error: str | None) -> None:
        """Some seconds more have been spent on sending the rest to MLflow. error: why the last try failed."""

    def stopped(self, cause: str) -> None:
        """The sweep stops in order, because its state cannot be written."""

    def silent(self, says: str) -> None:
        """Nothing was heard of a trial for a while."""


ProgressFactory = Callable[[Plan, Sweep, str], AbstractContextManager[Progress]]


class _Silent:
    def event(self, event: Mapping[str, Any]) -> None:
        """Nothing is shown."""

    def sending(self, unsent: int, error: str | None) -> None:
        """Nothing is shown."""

    def stopped(self, cause: str) -> None:
        """Nothing is shown."""

    def silent(self, says: str) -> None:
        """Nothing is shown."""


@contextmanager
def silent(plan: Plan, sweep: Sweep, uri: str) -> Iterator[Progress]:
    """Shows nothing."""
    yield _Silent()


def run_sweep(plan: Plan, progress: ProgressFactory = silent, measuring: Measuring = unseen) -> SweepResult:
    """Run a plan. SIGINT, SIGTERM and SIGHUP stop it in order and raise StoppedError with the result so far, whose exit
    code is 130, 143 or 129: every finished epoch is kept. So does StorageError where its state cannot be written.

    measuring: is shown how κ_min is measured, before anything is written, where the plan awaits it.
    """
    uri = resolve_uri(plan.spec.tracking.uri, Path.cwd())
    with stop_signals() as signals, closing(SharedRay(plan.spec, signals)) as shared:
        with signals.ending("it had written nothing"):
            shared.join()
            require_ready(plan)
            plan = reached(plan, measuring)
        stem = named_after(plan.space.name, plan.default.data.name)
        with signals.kept(), open_storage(plan.spec.storage).new(plan.spec.name, stem) as held:
            journal = _begun(plan, held, uri)
            return _session(plan, journal, held.folder, uri, progress, shared, signals)


def _begun(plan: Plan, held: HeldSweep, uri: str) -> Journal:
    """The journal of a new sweep; where it cannot be written, nothing is left of it."""
    name = held.folder.name
    try:
        held.write("spec.yaml", spec_yaml(public(plan.spec.model_copy(update={"name": name}))))
        journal = held.create_journal()
        journal.append("header", **header_of(plan, name, uri), place=place_of(plan.spec.storage, held.folder))
        _tell_priors(plan, journal)
    except FencedError:
        raise
    except StorageError:
        held.remove_all()
        raise
    return journal


def resume_sweep(
    storage: str | Path,
    name: str,
    *,
    more_trials: int = 0,
    model: str | Sequence[str] | None = None,
    tracking_uri: str | None = None,
    offline: bool = False,
    data_dir: Path | None = None,
    allow_changed: bool = False,
    progress: ProgressFactory = silent,
) -> SweepResult:
    """Go on with a sweep that was cut short, or add trials to one: finished trials stay, running ones go on from their
    last checkpoints, and searcher and pruning decide as they would have.

    more_trials: beyond those planned. model: of a sweep over a user's own models, each `package.module:factory` again:
    the journal says which code it needs, and the caller whether it may run. tracking_uri: by default the sweep's.
    allow_changed: go on although its data, or the code of its models, are not what they were, and write that down.
    Raises UserError where there is nothing to go on with, or another process holds the sweep, and StoppedError and
    StorageError as `run_sweep` does.
    """
    with stop_signals() as signals, signals.kept(), open_storage(storage).hold(name) as held:
        journal = held.open_journal()
        place = place_of(storage, held.folder)
        given = storage, place, more_trials, named(model), tracking_uri, offline, data_dir, allow_changed
        with signals.ending("it had written nothing"):
            plan, uri = resumed_plan(journal.sweep, *given)
        with closing(SharedRay(plan.spec, signals)) as shared:
            with signals.ending("it had written nothing"):
                shared.join()
                require_ready(plan)
            if not journal.sweep.trials:
                _tell_priors(plan, journal)
            known = {**plan.identity.document(), "changed": list(plan.changed)}
            journal.append("resume", more=more_trials, place=place, **known)
            return _session(plan, journal, held.folder, uri, progress, shared, signals)


def _tell_priors(plan: Plan, journal: Journal) -> None:
    """Write down what earlier sweeps know, but for what an earlier session has written."""
    for prior in plan.priors[len(journal.sweep.priors) :]:
        journal.append("prior", **vars(prior))


def _session(
    plan: Plan,
    journal: Journal,
    folder: Path,
    uri: str,
    progress: ProgressFactory,
    shared: SharedRay,
    signals: Signals,
) -> SweepResult:
    started, tracking, signals.answer = time.monotonic(), plan.spec.tracking, STOPPING
    trials = trials_of(plan.spec.storage, folder)
    tracker = Tracker(
        uri, tracking.experiment, journal.lasting, trials, tracking.tags, check=journal.check, sync=journal.sync
    )
    with progress(plan, journal.sweep, uri) as shown:
        full: StorageError | None = None
        try:
            exit_code = _search(plan, journal, folder, shown, None if tracking.offline else tracker, shared, signals)
        except FencedError:
            tracker.finish(0.0)
            raise
        except StorageError as error:
            exit_code, full = 1, error
        if not tracking.offline:
            _send_rest(tracker, shown, signals)
        unsent = tracker.unsent
    journal.close()
    exit_code = 128 + signals.received if signals.received else exit_code
    result = result_of(plan, journal, tracker, folder, unsent, time.monotonic() - started, exit_code)
    if signals.received:
        raise signals.stopped(f"what was finished of {result.name} is kept", result)
    if full is not None:
        full.result = result
        raise full
    return result


def _send_rest(tracker: Tracker, shown: Progress, signals: Signals) -> None:
    """Wait for MLflow, who was told to stop only for seconds; a signal ends the wait, and `sync` sends what is left."""
    with signals.cutting_short():
        seconds = SEND_SECONDS
        if signals.received:
            seconds = max(LEAST_SEND_SECONDS, signals.left(SEND_SECONDS_AFTER_A_SIGNAL))
        tracker.finish(seconds, shown.sending)


def header_of(plan: Plan, name: str, uri: str) -> dict[str, Any]:
    """The first line of a sweep's journal."""
    return {
        "format": 1,
        "name": name,
        "sweep_id": str(uuid.uuid4()),
        "tracking_uri": without_secret(uri),
        "spec": public(plan.spec).model_dump(mode="json"),
        "space": plan.space.to_mapping(),
        "metric": plan.metric,
        "direction": plan.direction,
        "metrics": dict(zip(plan.metrics, plan.directions, strict=True)),
        "epochs": plan.epochs,
        "rungs": list(plan.rungs),
        "scheduler": {**plan.spec.scheduler.model_dump(mode="json"), "kind": plan.scheduler_kind},
        **({"seeds": list(plan.seeds)} if len(plan.seeds) > 1 else {}),
        "kappa_max": plan.facts.kappa_max,
        "kappa_min": plan.facts.kappa_min or {},
        "data": plan.identity.data,
        "code": dict(plan.identity.code),
        "changed": list(plan.changed),
        "versions": {package: version(package) for package in ("vae-tuner", "ray", "optuna", "mlflow", "torch")},
    }


# --- Tune -------------------------------------------------------------------------------------------------------------


def _search(
    plan: Plan,
    journal: Journal,
    folder: Path,
    shown: Progress,
    tracker: Tracker | None,
    shared: SharedRay,
    signals: Signals,
) -> int:
    """Run Tune's loop; returns the exit code. Raises StorageError, the session closed, where nothing can be written."""
    try:
        with stdout_on_stderr():
            _run_tune(plan, journal, folder, shown, tracker, shared, signals)
    except FencedError:
        raise
    except StorageError as error:
        shown.stopped(str(error))
        with suppress(StorageError):
            close_session(journal, "interrupted", shown.event)
        raise
    except BaseException as error:
        with suppress(StorageError):
            close_session(journal, "interrupted", shown.event)
        # Of a StopSignal Ray's native code makes a plain KeyboardInterrupt.
        if not (isinstance(error, KeyboardInterrupt) and signals.received):
            raise
        signals.acknowledge()
        return 1
    sweep = journal.sweep
    if not sweep.spent and any(trial.unfinished for trial in sweep.trials.values()):  # Tune's own SIGUSR1 ends its loop
        close_session(journal, "interrupted", shown.event)
        return 1
    close_session(journal, "budget" if sweep.spent else "completed", shown.event)
    completed = any(trial.stop_reason == "completed" for trial in sweep.trials.values())
    return 0 if completed or (sweep.exhausted and not sweep.trials) else 1


def _run_tune(
    plan: Plan,
    journal: Journal,
    folder: Path,
    shown: Progress,
    tracker: Tracker | None,
    shared: SharedRay,
    signals: Signals,
) -> None:
    with shared.started(plan.cpus):
        if tracker is not None:
            tracker.start()
        try:
            while not _fitted(plan, journal, folder, shown, shared, signals):
                if signals.received:
                    raise StopSignal
        except KeyboardInterrupt:  # told before Ray ends, which takes seconds
            if signals.received:
                signals.acknowledge()
            with suppress(StorageError):
                close_session(journal, "interrupted", shown.event)
            raise


def _fitted(plan: Plan, journal: Journal, folder: Path, shown: Progress, shared: SharedRay, signals: Signals) -> bool:
    """Run Tune to its end; False where a signal asks it to stop, or it has to begin anew from the journal.

    It has to where Ray has killed a worker for lack of memory, which Tune does not survive, or a trial waits for a node
    that is gone.
    """
    from ray import tune
    from ray.tune.execution import class_cache

    from trainables.worker.ray_tune import VaeTrainable
    from tuner.running.exclusive_trials import AloneWatch
    from tuner.running.silence import SilenceWatch, kill_worker
    from tuner.running.stop_watch import StopWatch

    # Tune would hand AWS's keys to every worker, by way of Ray's logs; nodes have their own.
    class_cache.ENV_VARS_TO_PROPAGATE = set()

    resources = plan.spec.resources
    scheduler, searcher = _algorithms(plan, journal, shown)
    given = {
        "folder": trials_of(plan.spec.storage, folder),
        "data_dir": str(plan.data_dir),
        "memory_share": plan.memory_share,
        "working_dir": str(Path.cwd()),
        "session": journal.session,
        "identity": json.dumps(plan.identity.document()),
        **_ranking_given(plan),
    }
    # Under a name of its own, and one after the other: Tune keeps one registry for all threads, which may not share it.
    name = f"{VaeTrainable.__name__}-{journal.session}"
    trainable = tune.with_resources(VaeTrainable, _places(plan))
    done_by_ray_thread(partial(tune.register_trainable, name, trainable))
    try:
        # SIGUSR1 is Tune's own way to be stopped.
        with TemporaryDirectory() as scratch, handler_kept(signal.SIGUSR1):
            tune.Tuner(
                name,
                param_space=given,
                tune_config=tune.TuneConfig(
                    search_alg=searcher, scheduler=scheduler, num_samples=-1, reuse_actors=True
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    verbose=0,
                    callbacks=[
                        StopWatch(signals, shared.stays, kill_worker),
                        AloneWatch(resources.cpus_per_trial, lambda: cluster_now().most_cpus),
                        SilenceWatch(journal, resources.epoch_timeout, shown.silent, scheduler.expire, kill_worker),
                    ],
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            ).fit()
    except Exception as error:
        _accept(error, journal, shown, scheduler, searcher)
        return False
    return True


def _accept(error: Exception, journal: Journal, shown: Progress, scheduler: Any, searcher: Any) -> None:
    """Take an error of Tune's loop after which the journal goes on, and write down what it means; raises any other."""
    from ray.exceptions import OutOfMemoryError

    from tuner.running.exclusive_trials import NodeGoneError
    from tuner.running.stop_watch import StopAskedError

    if _inner(error, StopAskedError):
        return
    if killed := _inner(error, OutOfMemoryError):
        _charge_memory(scheduler, searcher, str(killed))
    elif gone := _inner(error, NodeGoneError):
        shown.event(journal.append("warning", trial=gone.trial, text=str(gone)))
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


def _algorithms(plan: Plan, journal: Journal, shown: Progress) -> tuple[Any, Any]:
    """Scheduler and searcher, fresh: all they know is in the journal."""
    from tuner.running.tune_scheduler import JournalScheduler
    from tuner.running.tune_searcher import JournalSearcher

    search = plan.spec.search
    spent = partial(is_spent, plan.spec.budget, journal)
    retries, patience = plan.spec.resources.retries, plan.spec.scheduler.patience
    scheduler = JournalScheduler(journal, plan.metric, plan.epochs, plan.rule, shown.event, spent, retries, patience)
    searcher = JournalSearcher(
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
        on_event=shown.event,
        settle=scheduler.settle,
        is_spent=spent,
    )
    return scheduler, searcher


def _slots(plan: Plan) -> int:
    """How many trials fit on the cluster now."""
    address = plan.spec.resources.ray_address
    return cluster_now(address).slots(plan.spec.resources.cpus_per_trial, plan.gpus_per_trial)


def _places(plan: Plan) -> Callable[[Mapping[str, Any]], Any]:
    """What a trial asks Ray for; one that runs alone a whole GPU, or all the cores of a node.

    Tune asks as a trial is handed out: of the nodes there are then.
    """
    from ray.tune import PlacementGroupFactory

    cpus, gpus = plan.spec.resources.cpus_per_trial, plan.gpus_per_trial
    shared = {"CPU": cpus, "GPU": gpus}

    def alone() -> dict[str, float]:
        return {"CPU": cpus, "GPU": max(1.0, gpus)} if gpus else {"CPU": max(cpus, cluster_now().most_cpus)}

    return lambda config: PlacementGroupFactory([alone() if config["alone"] else shared])


def _charge_memory(scheduler: Any, searcher: Any, message: str) -> None:
    """All that ran on a node shared its memory, which was too little: each goes on from its last checkpoint, alone.

    message: Ray's, which names the node. A trial of which nothing was heard may have run there too.
    """
    for trial in searcher.running():
        ip = scheduler.ips.get(trial.id)
        if ip is None or "(IP: " not in message or f"(IP: {ip}," in message:
            scheduler.fail(trial, OUT_OF_MEMORY, "memory")
