"""An exported configuration trained again, in this process, to the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trainables.config import TrialConfig
from trainables.errors import ConfigError
from trainables.results import write_results
from trainables.schedules import rate_in_use
from trainables.trainer import Report
from tuner.single_runs.single_trial import make_ready
from tuner.spec import SweepSpec, read_yaml
from tuner.tracking.tracker import check_reachable, log_retrain

__all__ = ["Retrained", "read_config", "retrain"]


@dataclass(frozen=True)
class Retrained:
    """A configuration trained again. metrics: of its last epoch, with `test/*`. config: as it ran."""

    run_id: str
    metrics: dict[str, float]
    config: TrialConfig
    stop_reason: str
    outcome: str | None


def read_config(path: Path) -> dict[str, Any]:
    """The tree of a configuration's YAML file; a sweep's file is refused by name."""
    tree = read_yaml(path)
    if tree.keys() & SweepSpec.model_fields.keys() and not tree.keys() & TrialConfig.model_fields.keys():
        raise ConfigError(
            f"{path} describes a sweep, not one configuration; run it with `vae-tuner sweep {path}`, then train what "
            "`vae-tuner best --export` writes"
        )
    return tree


def retrain(
    config: TrialConfig,
    uri: str,
    experiment: str = "vae-tuner",
    chosen_data_dir: Path | None = None,
    on_report: Callable[[Report], None] = lambda report: None,
    on_notes: Callable[[Sequence[str]], None] = lambda notes: None,
) -> Retrained:
    """Train a configuration to its end and log it as a run of kind `retrain`; stops at once where it diverges.

    on_notes: is told before the first epoch what the user should know of data and model.
    """
    check_reachable(uri)
    ready = make_ready(config, chosen_data_dir)
    trainer, resolved = ready.trainer, ready.trainer.config
    rate = rate_in_use(resolved.lr, resolved.batch_size)
    on_notes((*ready.notes, *([rate] if rate else [])))
    reports: list[Report] = []
    while trainer.epoch < resolved.epochs and not (reports and reports[-1].diverged):
        reports.append(trainer.train_epoch())
        on_report(reports[-1])
    last = reports[-1]
    stop_reason = "diverged" if last.diverged else "completed"
    final = {} if last.diverged else trainer.test_metrics()
    with TemporaryDirectory() as folder:
        if not last.diverged:
            write_results(Path(folder), trainer)
        run_id = log_retrain(
            uri,
            experiment,
            resolved,
            [(report.epoch, report.metrics) for report in reports],
            final,
            Path(folder),
            stop_reason=stop_reason,
            outcome=last.outcome,
        )
    return Retrained(run_id, {**last.metrics, **final}, resolved, stop_reason, last.outcome)
