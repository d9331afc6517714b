"""A plan run to its end: journal, Ray, Tune's loop, MLflow beside it, and what came of it."""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn, Protocol

from filelock import FileLock, Timeout

from trainables.config import TrialConfig
from trainables.errors import UserError
from trainables.paths import parse_config, plain, unflatten
from tuner.budget import is_spent, spent_part
from tuner.journal import Journal, Trial
from tuner.pareto import pareto_front
from tuner.planning import Plan
from tuner.ray_address import check_ray_reachable
from tuner.spec import Budget, spec_yaml
from tuner.sweep_status import JOURNAL, ranked_trials
from tuner.tracking import Tracker, check_reachable, resolve_uri

__all__ = ["Progress", "RankedTrial", "SweepResult", "quiet_ray", "run_sweep"]

SEND_SECONDS = 120.0
OBJECT_STORE_BYTES = 100 * 2**20


class Progress(Protocol):
    """What is told of a running sweep."""

    def event(self, event: Mapping[str, Any]) -> None:
        """A line was written to the journal."""

    def sending(self, unsent: int, error: Exception | None) -> None:
        """Some seconds more have been spent on sending the rest to MLflow. error: why the last try failed."""


ProgressFactory = Callable[[Plan, str, str], AbstractContextManager[Progress]]


class _Silent:
    def event(self, event: Mapping[str, Any]) -> None:
        """Nothing is shown."""

    def sending(self, unsent: int, error: Exception | None) -> None:
        """Nothing is shown."""


@contextmanager
def _silent(plan: Plan, name: str, uri: str) -> Iterator[Progress]:
    yield _Silent()


@dataclass(frozen=True)
class RankedTrial:
    """A completed trial as the journal knows it. run_id: None until MLflow has it."""

    run_id: str | None
    trial: str
    method: str
    stop_reason: str
    outcome: str | None
    metrics: dict[str, float]
    config: TrialConfig


@dataclass(frozen=True)
class SweepResult:
    """What came of a sweep. ranked: completed trials, best by the first metric first. unsent: what MLflow lacks.

    pareto: of several metrics the trials that no other dominates, ranked; empty for one metric.
    planned: how many trials it was to have. spent: which part of the budget ended it, `time` or `epochs`.
    """

    name: str
    experiment: str
    sweep_id: str
    parent_run_id: str | None
    metrics: tuple[str, ...]
    stop_reasons: dict[str, int]
    epochs: int
    wall_s: float
    ranked: list[RankedTrial]
    pareto: list[RankedTrial]
    searched: tuple[str, ...]
    planned: int
    budget: Budget
    spent: str | None
    unsent: int
    tracker_error: str
    exit_code: int

    @property
    def metric(self) -> str:
        """What trials are ranked by."""
        return self.metrics[0]

    @property
    def n_trials(self) -> int:
        return sum(self.stop_reasons.values())

    @property
    def best(self) -> RankedTrial | None:
        """The best completed trial, None where none has completed."""
        return self.ranked[0] if self.ranked else None

    def document(self) -> dict[str, Any]:
        """The result as plain data; `pareto` where there are several metrics."""
        names = ("name", "experiment", "sweep_id", "parent_run_id", "n_trials", "stop_reasons", "epochs", "wall_s")
        front = {"pareto": list(map(_document, self.pareto))} if len(self.metrics) > 1 else {}
        best = self.best and _document(self.best)
        return {**{name: getattr(self, name) for name in names}, "best": best, **front}


def _document(trial: RankedTrial) -> dict[str, Any]:
    return {**vars(trial), "config": plain(trial.config)}


def run_sweep(plan: Plan, progress: ProgressFactory = _silent) -> SweepResult:
    """Run a plan. Ctrl-C and SIGTERM stop it in order: exit code 130 or 143, and every finished epoch is kept."""
    uri = resolve_uri(plan.spec.tracking.uri, Path.cwd())
    check_reachable(uri)
    quiet_ray()
    check_ray_reachable(plan.spec.resources.ray_address)
    started = time.monotonic()
    with _claimed_folder(plan) as folder:
        name = folder.name
        (folder / "spec.yaml").write_text(spec_yaml(plan.spec.model_copy(update={"name": name})), encoding="utf-8")
        journal = Journal.create(folder / JOURNAL)
        journal.append("header", **_header(plan, name))
        for prior in plan.priors:
            journal.append("prior", **vars(prior))
        tracking = plan.spec.tracking
        tracker = Tracker(uri, tracking.experiment, journal.events, folder / "trials", tracking.tags)
        tracker.start()
        with progress(plan, name, uri) as shown:
            exit_code = _search(plan, journal, folder, shown)
            unsent = tracker.finish(SEND_SECONDS, shown.sending)
        journal.close()
        return _result(plan, journal, tracker, unsent, time.monotonic() - started, exit_code)


# --- the sweep's folder -----------------------------------------------------------------------------------------------


@contextmanager
def _claimed_folder(plan: Plan) -> Iterator[Path]:
    """The folder of a new sweep, locked against a second driver."""
    root = Path(plan.spec.storage)
    try:
        folder = _new_folder(root, plan)
    except OSError as error:
        raise UserError(f"storage: {root} cannot be written: {error.strerror}; choose another with --storage") from None
    try:
        with FileLock(folder / "lock", timeout=0):
            yield folder
    except Timeout:
        raise UserError(f"sweep {folder.name} is being run by another process; choose another --name") from None


def _new_folder(root: Path, plan: Plan) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    if plan.spec.name is not None:
        folder = root / plan.spec.name
        if folder.exists():
            free = _first_free(root, re.sub(r"-\d+$", "", plan.spec.name))
            raise UserError(
                f"name: sweep {plan.spec.name!r} exists in {root}; see it with "
                f"`vae-tuner best --sweep {plan.spec.name}`, or choose a free name such as {free.name}"
            )
        folder.mkdir()
        return folder
    space = plan.space.name.replace("+", "-") or "custom"
    dataset = re.sub(r"[^A-Za-z0-9._-]", "-", Path(plan.default.data.name).stem)
    while True:
        folder = _first_free(root, f"{space}-{dataset}"[:58].strip(".-"))
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder


def _first_free(root: Path, stem: str) -> Path:
    n = 1
    while (root / f"{stem}-{n}").exists():
        n += 1
    return root / f"{stem}-{n}"


def _header(plan: Plan, name: str) -> dict[str, Any]:
    return {
        "format": 1,
        "name": name,
        "sweep_id": str(uuid.uuid4()),
        "spec": plan.spec.model_dump(mode="json"),
        "space": plan.space.to_mapping(),
        "metric": plan.metric,
        "direction": plan.direction,
        "metrics": dict(zip(plan.metrics, plan.directions, strict=True)),
        "epochs": plan.epochs,
        "rungs": list(plan.rungs),
        "scheduler": {**plan.spec.scheduler.model_dump(mode="json"), "kind": plan.scheduler_kind},
        "kappa_max": plan.facts.kappa_max,
        "versions": {package: version(package) for package in ("vae-tuner", "ray", "optuna", "mlflow", "torch")},
    }


# --- Tune -------------------------------------------------------------------------------------------------------------


class _Stopped(BaseException):
    """A signal asked for an orderly stop."""


class _Signals:
    """SIGINT and SIGTERM while a sweep runs. received: the first one's number; native code may hide the exception."""

    def __init__(self) -> None:
        self.received: int | None = None

    def _stop(self, number: int, frame: FrameType | None) -> NoReturn:
        self.received = self.received or number
        raise _Stopped

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Takes the signals over; in a thread, which may not, the process keeps its own way."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _search(plan: Plan, journal: Journal, folder: Path, shown: Progress) -> int:
    """Run Tune's loop; returns the exit code."""
    signals = _Signals()
    try:
        with signals.caught(), _stdout_on_stderr():
            _run_tune(plan, journal, folder, shown, signals)
    except BaseException as error:
        _close(journal, shown, "interrupted")
        # While Ray starts, its own handler turns SIGTERM into an exit.
        received = signal.SIGTERM if isinstance(error, SystemExit) else signals.received
        if received is None:
            raise
        return 128 + received
    _close(journal, shown, "budget" if journal.sweep.spent else "completed")
    completed = any(trial.stop_reason == "completed" for trial in journal.sweep.trials.values())
    return 0 if completed else 1


def _close(journal: Journal, shown: Progress, reason: str) -> None:
    """Write down how the sweep ended, once; trials that have not ended were cut short by the same."""
    if journal.sweep.finished:
        return
    for trial in list(journal.sweep.trials.values()):
        if trial.unfinished and trial.stop_reason != reason:
            shown.event(journal.append("end", trial=trial.id, reason=reason, error=None))
    journal.append("finish", reason=reason)


@contextmanager
def _stdout_on_stderr() -> Iterator[None]:
    """Ray prints to file descriptor 1 whatever it is told; results alone belong there."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def quiet_ray() -> None:
    """Set before Ray is imported; what the user set stays. What goes wrong in a trial is told by the journal."""
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1e9",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }.items():
        os.environ.setdefault(name, value)


def _run_tune(plan: Plan, journal: Journal, folder: Path, shown: Progress, signals: _Signals) -> None:
    quiet_ray()
    import ray
    from ray import tune

    from trainables.ray_tune import VaeTrainable
    from tuner.schedulers import JournalScheduler
    from tuner.searchers import JournalSearcher

    search, resources = plan.spec.search, plan.spec.resources
    # With a searcher, Tune lets one trial wait for its actor; all that run at once shall start at once.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(plan.concurrency)
    spent = partial(is_spent, plan.spec.budget, journal)
    scheduler = JournalScheduler(journal, plan.metric, plan.epochs, plan.rule, shown.event, spent)
    searcher = JournalSearcher(
        journal,
        plan.space,
        unflatten(plan.base),
        plan.trial,
        sampler=search.sampler,
        seed=search.seed,
        n_trials=search.trials,
        concurrency=plan.concurrency,
        on_event=shown.event,
        settle=scheduler.settle,
        is_spent=spent,
    )
    started_here = not ray.is_initialized()
    if started_here:
        _start_ray(plan)
    try:
        # Ray has put its own signal handlers in place of ours.
        with signals.caught(), TemporaryDirectory() as scratch:
            tune.Tuner(
                tune.with_resources(VaeTrainable, {"cpu": resources.cpus_per_trial, "gpu": plan.gpus_per_trial}),
                param_space={
                    "folder": str((folder / "trials").resolve()),
                    "data_dir": str(plan.data_dir),
                    "memory_share": plan.memory_share,
                    "working_dir": str(Path.cwd()),
                },
                tune_config=tune.TuneConfig(
                    search_alg=searcher, scheduler=scheduler, num_samples=-1, reuse_actors=True
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=scratch,
                    verbose=0,
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            ).fit()
    except BaseException:
        # First of all: a signal to the whole process group has ended Ray too, and its client may abort this process.
        _close(journal, shown, "interrupted")
        raise
    finally:
        if started_here:
            ray.shutdown()


def _start_ray(plan: Plan) -> None:
    import ray

    resources = plan.spec.resources
    if resources.ray_address is not None:
        ray.init(address=resources.ray_address, log_to_driver=False, logging_level="ERROR")
        return
    ray.init(
        num_cpus=max(os.cpu_count() or 1, math.ceil(plan.concurrency * resources.cpus_per_trial)),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=OBJECT_STORE_BYTES,
    )


def _result(plan: Plan, journal: Journal, tracker: Tracker, unsent: int, wall_s: float, exit_code: int) -> SweepResult:
    sweep, run_ids = journal.sweep, tracker.run_ids()
    ranked = [_ranked(trial, run_ids.get(trial.id)) for trial in ranked_trials(sweep)]
    return SweepResult(
        name=sweep.header["name"],
        experiment=plan.spec.tracking.experiment,
        sweep_id=sweep.header["sweep_id"],
        parent_run_id=tracker.parent_run_id,
        metrics=plan.metrics,
        stop_reasons=dict(Counter(trial.stop_reason or "interrupted" for trial in sweep.trials.values())),
        epochs=sum(trial.epochs for trial in sweep.trials.values()),
        wall_s=wall_s,
        ranked=ranked,
        pareto=_pareto(ranked, plan) if len(plan.metrics) > 1 else [],
        searched=tuple(plan.space.dimensions),
        planned=plan.spec.search.trials,
        budget=plan.spec.budget,
        spent=spent_part(plan.spec.budget, journal) if sweep.spent else None,
        unsent=unsent,
        tracker_error=str(tracker.error or "").partition("\n")[0],
        exit_code=exit_code,
    )


def _pareto(ranked: list[RankedTrial], plan: Plan) -> list[RankedTrial]:
    values = [[trial.metrics.get(metric, math.nan) for metric in plan.metrics] for trial in ranked]
    return [ranked[row] for row in pareto_front(values, plan.directions)]


def _ranked(trial: Trial, run_id: str | None) -> RankedTrial:
    return RankedTrial(
        run_id, trial.id, trial.method, "completed", trial.outcome, dict(trial.last), parse_config(trial.config)
    )
