"""An exported configuration trained again, in this process, to the same numbers."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from tempfile import mkdtemp
from typing import Any

from trainables.config import TrialConfig
from trainables.credentials import shown
from trainables.errors import ConfigError, UserError
from trainables.global_settings import fresh
from trainables.identity import Identity, notes_on
from trainables.ranking import LAST, Ranking
from trainables.results import write_results
from trainables.schedules import rate_in_use
from trainables.trainer import Report
from tuner.single_runs.origin import Origin
from tuner.single_runs.ranked_epoch import RankedEpoch
from tuner.single_runs.single_trial import make_ready
from tuner.spec import SweepSpec
from tuner.tracking.store_checks import begin_experiment, check_store
from tuner.tracking.tracker import RetrainedRun, log_retrain
from tuner.tracking.tracking_uri import cause_of, check_reachable
from tuner.yaml_files import read_yaml

__all__ = ["Retrained", "read_config", "retrain"]


@dataclass(frozen=True)
class Retrained:
    """A configuration trained again. metrics: of the epoch that it was ranked by, with `test/*`; says: which that is.
    config: as it ran."""

    run_id: str
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
    Raises UserError for what cannot be trained, and where MLflow does not take the run: its files are kept then.
    """
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
    rate = rate_in_use(resolved.lr, resolved.batch_size)
    ranked, ranked_notes = _ranked_here(ranked, resolved)
    on_notes((*ready.notes, *([rate] if rate else []), *ranked_notes))
    last_epoch = ranked.last_epoch(resolved) if ranked else resolved.epochs
    events: list[dict[str, Any]] = []
    while True:
        last = trainer.train_epoch()
        on_report(last)
        events.append({"t": time.time(), "epoch": last.epoch, "metrics": last.metrics})
        if last.diverged or trainer.epoch == last_epoch:
            break
    metrics = Ranking(ranked.ranking if ranked else LAST).mean([event["metrics"] for event in events])
    final = {} if last.diverged else trainer.test_metrics()
    events.append({"t": time.time(), "epoch": last.epoch, "metrics": final})
    stop_reason = "diverged" if last.diverged else "completed"
    run = RetrainedRun(resolved, started, events, stop_reason, last.outcome, origin, trainer.identity)
    folder = Path(mkdtemp(prefix="vae-tuner-train-"))
    if not last.diverged:
        write_results(folder, trainer)
    run_id = _logged(uri, experiment, run, folder)
    says = ranked.says if ranked else Ranking().says
    return Retrained(run_id, {**metrics, **final}, resolved, run.stop_reason, last.outcome, says)


def _ranked_here(ranked: RankedEpoch | None, config: TrialConfig) -> tuple[RankedEpoch | None, list[str]]:
    """The best of one budget is none of another."""
    if ranked is None or ranked.is_of(config):
        return ranked, []
    return None, [
        f"epoch {ranked.epoch} was the one that counted of {ranked.epochs} epochs, not of {config.epochs}: trained to "
        "the end"
    ]


def _logged(uri: str, experiment: str, run: RetrainedRun, folder: Path) -> str:
    """The id of the run that takes what is in the folder; where MLflow refuses, the folder stays and is named."""
    try:
        run_id = log_retrain(uri, experiment, run, folder)
    except Exception as error:  # a user's own, MLflow's, of its HTTP client, of a store of files
        raise UserError(
            f"tracking {shown(uri)} did not take the run: {cause_of(error)}; it was trained, and its files are in "
            f"{folder}"
        ) from None
    shutil.rmtree(folder)
    return run_id
