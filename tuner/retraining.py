"""An exported configuration trained again, in this process, to the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from trainables.config import TrialConfig
from trainables.data import data_facts, load
from trainables.errors import ConfigError
from trainables.models.inspection import check_user_model
from trainables.resolve import resolve
from trainables.results import write_results
from trainables.sources import data_dir
from trainables.trainer import Report, Trainer
from tuner.spec import SweepSpec, read_yaml
from tuner.tracking import check_reachable, log_retrain

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
) -> Retrained:
    """Train a configuration to its end and log it as a run of kind `retrain`; stops at once where it diverges."""
    check_reachable(uri)
    root = data_dir(chosen_data_dir)
    facts = data_facts(config.data, root)
    resolved = resolve(config, facts, device="cuda" if torch.cuda.is_available() else "cpu")
    check_user_model(resolved.model, facts.shape)
    if resolved.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"device: {resolved.device} is not here; `--set device=cpu` trains on the CPU, to other last digits"
        )
    trainer = Trainer(resolved, load(resolved.data, root, torch.device(resolved.device)))
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
