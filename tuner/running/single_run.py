"""An exported configuration trained again, in this process, to the same numbers."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from tempfile import mkdtemp
from typing import Any

import torch

from trainables.config import TrialConfig
from trainables.config.objectives import Geco
from trainables.credentials import check_no_secrets, shown
from trainables.data.dataset import DataFacts, Dataset, data_facts, load
from trainables.data.readers import data_dir
from trainables.errors import ConfigError, UserError
from trainables.global_settings import fresh
from trainables.identity import Identity, notes_on
from trainables.models.inspection import check_user_model
from trainables.objectives import geco_notes
from trainables.ranking import LAST, Ranking
from trainables.resolve import notes, resolve
from trainables.training.report import Report
from trainables.training.trainer import Trainer
from trainables.worker.kappa_min import Reach, least, next_epoch, reach_config
from trainables.worker.results import write_results
from tuner.cluster.signals import STOPPING, StopSignal, stop_signals
from tuner.planning.kappa_min import reach_notes
from tuner.planning.notes import describe_data
from tuner.sweeps.spec import SweepSpec
from tuner.sweeps.yaml_files import read_yaml
from tuner.tracking.database_file import cause_at
from tuner.tracking.origin import Origin
from tuner.tracking.ranked_epoch import RankedEpoch
from tuner.tracking.reachability import check_reachable
from tuner.tracking.store_checks import begin_experiment, check_store
from tuner.tracking.tracker import RetrainedRun, log_retrain

LOG_SECONDS = 6.0
"""What MLflow is given to take the run, from the signal on; ending it and the process has the rest of ten seconds."""
REPORTS = "metrics.json"


@dataclass(frozen=True)
class Retrained:
    """A configuration trained again. metrics: of the epoch that it was ranked by, with `test/*`; says: which that is.
    config: as it ran. run_id: None where a signal came before MLflow had taken the run."""

    run_id: str | None
    metrics: dict[str, float]
    config: TrialConfig
    stop_reason: str
    outcome: str | None
    says: str = "its last epoch"


def read_config(path: Path) -> dict[str, Any]:
    """The tree of a configuration's YAML file; a sweep's file is refused by name."""
    tree = read_yaml(path)
    if tree.keys() & SweepSpec.model_fields.keys() and not tree.keys() & TrialConfig.model_fields.keys():
        raise ConfigError(
            f"{path} describes a sweep, not one configuration; run it with `vae-tuner sweep {quote(str(path))}`, then "
            "train what `vae-tuner best --export` writes"
        )
    return tree


@fresh()
def retrain(
    config: TrialConfig,
    uri: str,
    experiment: str = "vae-tuner",
    chosen_data_dir: Path | None = None,
    on_report: Callable[[Report], None] = lambda report: None,
    on_notes: Callable[[Sequence[str]], None] = lambda notes: None,
    origin: Origin | None = None,
    ranked: RankedEpoch | None = None,
    *,
    on_changed: Callable[[Sequence[str]], None] | None = None,
) -> Retrained:
    """Train a configuration to its end and log it as a run of kind `retrain`; stops at once where it diverges.

    on_notes: is told before the first epoch what the user should know of data and model. origin: the trial it was of.
    ranked: the epoch that counts; where it is the best, training ends there, in the schedules of the whole budget.
    on_changed: is told in what that had other data, code or versions, else on_notes is.
    Raises UserError for what cannot be trained, and where MLflow does not take the run: its files are kept then; and
    StoppedError where a signal ended it, with what its finished epochs left, which are logged.
    """
    if origin is None:  # what was exported is in MLflow
        check_no_secrets(config.model_dump(mode="json"))
    check_reachable(uri)
    check_store(uri, experiment)
    begin_experiment(uri, experiment)
    started = time.time()
    ready = make_ready(config, chosen_data_dir)
    trainer, resolved = ready.trainer, ready.trainer.config
    recorded = origin.identity if origin else Identity()
    changed = notes_on(trainer.identity, recorded, resolved.data.name, "of the recorded run")
    if changed:
        (on_changed or on_notes)(changed)
    rate = resolved.lr.rate_in_use(resolved.batch_size)
    ranked, ranked_notes = _ranked_here(ranked, resolved)
    on_notes((*ready.notes, *([rate] if rate else []), *ranked_notes))
    last_epoch = ranked.last_epoch(resolved) if ranked else resolved.epochs
    course = _Course()
    with stop_signals() as signals:
        signals.answer = STOPPING
        try:
            with signals.interrupting():
                _train(trainer, last_epoch, on_report, course)
        except StopSignal:
            if not course.events:
                raise signals.stopped("no epoch was finished, and nothing is logged") from None
        with signals.kept(LOG_SECONDS):
            run, folder = _left(trainer, course, started, origin)
            found = _found(trainer, course, ranked)
            try:
                found = replace(found, run_id=_logged(uri, experiment, run, folder))
            except StopSignal:
                raise signals.stopped(
                    f"MLflow did not accept the run in time; what was trained is in {folder}", found
                ) from None
        if signals.received:
            raise signals.stopped(f"what was trained is run {found.run_id}", found)
    return found


@dataclass
class _Course:
    """How far a training came. events: of its finished epochs. final: what the tests found."""

    events: list[dict[str, Any]] = field(default_factory=list)
    final: dict[str, float] = field(default_factory=dict)
    stop_reason: str = "interrupted"
    outcome: str | None = None
    is_whole: bool = False
    """Whether it came to its end, though perhaps not through the tests."""


def _train(trainer: Trainer, last_epoch: int, on_report: Callable[[Report], None], course: _Course) -> None:
    while True:
        last = trainer.train_epoch()
        course.events.append({"t": time.time(), "epoch": last.epoch, "metrics": last.metrics})
        on_report(last)
        if last.diverged or last.epoch == last_epoch:
            break
    course.is_whole = not last.diverged
    course.final = trainer.test_metrics() if course.is_whole else {}
    course.outcome, course.stop_reason = last.outcome, "diverged" if last.diverged else "completed"


def _found(trainer: Trainer, course: _Course, ranked: RankedEpoch | None) -> Retrained:
    """What came of a training, before MLflow has it."""
    metrics = Ranking(ranked.ranking if ranked else LAST).mean([event["metrics"] for event in course.events])
    says = ranked.says if ranked else Ranking().says
    return Retrained(None, {**metrics, **course.final}, trainer.config, course.stop_reason, course.outcome, says)


def _left(trainer: Trainer, course: _Course, started: float, origin: Origin | None) -> tuple[RetrainedRun, Path]:
    """What is left of a training: its record, and the folder of its files."""
    last = {"t": time.time(), "epoch": course.events[-1]["epoch"], "metrics": course.final}
    events, reason, outcome = [*course.events, last], course.stop_reason, course.outcome
    folder = Path(mkdtemp(prefix="vae-tuner-train-"))
    (folder / REPORTS).write_text(json.dumps(events), encoding="utf-8")
    if course.is_whole:
        write_results(folder, trainer)
    return RetrainedRun(trainer.config, started, events, reason, outcome, origin, trainer.identity), folder


def _logged(uri: str, experiment: str, run: RetrainedRun, folder: Path) -> str:
    """The id of the run that takes what is in the folder; where it is not taken, the folder stays and is named."""
    try:
        run_id = log_retrain(uri, experiment, run, folder)
    except Exception as error:  # a user's own, MLflow's, of its HTTP client, of a store of files
        raise UserError(
            f"tracking {shown(uri)} did not accept the run: {cause_at(uri, error)}; it was trained, and its files are "
            f"in {folder}"
        ) from None
    shutil.rmtree(folder)
    return run_id


def _ranked_here(ranked: RankedEpoch | None, config: TrialConfig) -> tuple[RankedEpoch | None, list[str]]:
    """The best of one budget is none of another."""
    if ranked is None or ranked.is_of(config):
        return ranked, []
    return None, [
        f"epoch {ranked.epoch} was the best of {ranked.epochs} epochs and need not be of {config.epochs}: trained to "
        "the end"
    ]


@dataclass(frozen=True)
class Ready:
    """The trainer of a resolved configuration. notes: what the user should know of its data and model."""

    trainer: Trainer
    notes: tuple[str, ...]


def make_ready(
    config: TrialConfig, chosen_data_dir: Path | None = None, trained_as: TrialConfig | None = None
) -> Ready:
    """Settle what `auto` means here and load the data; raises UserError for what cannot be trained.

    trained_as: the configuration in whose budget κ `auto` is to be reached; by default this one.
    """
    root = data_dir(chosen_data_dir)
    facts = data_facts(config.data, root)
    resolved = _resolved(config, facts)
    model_notes = check_user_model(resolved.model, facts.shape)
    if resolved.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"device: {resolved.device} is not available here; `--set device=cpu` runs on the CPU, with other "
            "last digits"
        )
    dataset = load(resolved.data, root, torch.device(resolved.device))
    if isinstance(config.objective, Geco) and config.objective.kappa == "auto":
        facts = replace(facts, kappa_min=_reach(_resolved(trained_as or config, facts), dataset))
        resolved = _resolved(config, facts)
    return Ready(
        Trainer(resolved, dataset),
        (*describe_data(resolved, facts), *notes(resolved, facts), *_geco_notes(resolved, facts), *model_notes),
    )


def _resolved(config: TrialConfig, facts: DataFacts) -> TrialConfig:
    return resolve(config, facts, device="cuda" if torch.cuda.is_available() else "cpu")


def _reach(resolved: TrialConfig, dataset: Dataset) -> Reach:
    """κ_min of this very configuration; empty where the run diverges."""
    config = reach_config(resolved)
    trainer = Trainer(config, dataset)
    return least(next_epoch(trainer) for _ in range(config.epochs))


def _geco_notes(resolved: TrialConfig, facts: DataFacts) -> list[str]:
    if not isinstance(resolved.objective, Geco):
        return []
    reach = reach_notes(None, resolved.objective.constraint, facts, awaited=False)
    return [*geco_notes(resolved, facts), *reach]
