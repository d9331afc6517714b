"""A plan run to its end, or a sweep that was cut short: journal, Ray, Tune's loop, MLflow beside it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainables.errors import StorageError
from trainables.identity import STEP, STEP_VERSION
from tuner.cluster.ray_session import stdout_on_stderr
from tuner.cluster.shared_ray import SharedRay
from tuner.cluster.signals import STOPPING, Signals, stop_signals
from tuner.planning.checks import require_ready
from tuner.planning.plans import Plan
from tuner.running import search_loop
from tuner.running.kappa_min import Measuring, reached, unseen
from tuner.running.resuming import resumed_plan
from tuner.running.session import Progress, ProgressFactory, Session, silent
from tuner.running.sweep_result import SweepResult, result_of
from tuner.sweeps.events import Header, Resumed
from tuner.sweeps.folder import HeldSweep, named_after, trials_of
from tuner.sweeps.journal import Journal
from tuner.sweeps.lease import FencedError
from tuner.sweeps.resumable import named
from tuner.sweeps.spec import public, spec_yaml
from tuner.sweeps.storage import open_storage
from tuner.sweeps.tracking_uri import resolve_uri, without_secret
from tuner.tracking.tracker import Tracker

PACKAGES = "vae-tuner", "ray", "optuna", "mlflow", "torch"
SEND_SECONDS = 120.0
SEND_SECONDS_AFTER_A_SIGNAL = 6.0
"""From the signal on, of the ten in which the process has to end; what is left is for `sync`."""
LEAST_SEND_SECONDS = 2.0
"""What MLflow is given where Ray has taken longer, so that no run is left as RUNNING there."""


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
            journal = begin_journal(plan, held, uri)
            return _run(plan, journal, held.folder, uri, progress, shared, signals)


def begin_journal(plan: Plan, held: HeldSweep, uri: str) -> Journal:
    """The journal of a new sweep; where it cannot be written, nothing is left of it."""
    name = held.folder.name
    try:
        held.write("spec.yaml", spec_yaml(public(plan.spec.model_copy(update={"name": name}))))
        journal = held.create_journal()
        journal.append(Header({**header_of(plan, name, uri), "place": str(held.place)}))
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
        place = str(held.place)
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
            journal.append(Resumed(more_trials, place, **known))
            return _run(plan, journal, held.folder, uri, progress, shared, signals)


def _tell_priors(plan: Plan, journal: Journal) -> None:
    """Write down what earlier sweeps know, but for what an earlier session has written."""
    for prior in plan.priors[len(journal.sweep.priors) :]:
        journal.append(prior)


def _run(
    plan: Plan,
    journal: Journal,
    folder: Path,
    uri: str,
    progress: ProgressFactory,
    shared: SharedRay,
    signals: Signals,
) -> SweepResult:
    started, tracking, signals.answer = time.monotonic(), plan.spec.tracking, STOPPING
    trials = trials_of(plan.spec.storage, folder.name)
    tracker = Tracker(
        uri, tracking.experiment, journal.lasting, trials, tracking.tags, check=journal.check, sync=journal.sync
    )
    with progress(plan, journal.sweep, uri) as shown:
        journal.listeners.append(shown.event)
        session = Session(plan, journal, folder, shown, shared, signals)
        try:
            with session.ending(), stdout_on_stderr():
                search_loop.run(session, None if tracking.offline else tracker)
        except FencedError:
            tracker.finish(0.0)
            raise
        if not tracking.offline:
            _send_rest(tracker, shown, signals)
        unsent = tracker.unsent
    journal.close()
    exit_code = 128 + signals.received if signals.received else session.exit_code
    result = result_of(plan, journal, tracker, folder, unsent, time.monotonic() - started, exit_code)
    if signals.received:
        raise signals.stopped(f"what was finished of {result.name} is kept", result)
    if session.full is not None:
        session.full.result = result
        raise session.full
    return result


def _send_rest(tracker: Tracker, shown: Progress, signals: Signals) -> None:
    """Wait for MLflow, after a signal for seconds only; a signal ends the wait, and `sync` sends what is left."""
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
        "versions": {**{package: version(package) for package in PACKAGES}, STEP: STEP_VERSION},
    }
