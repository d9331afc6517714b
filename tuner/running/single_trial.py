"""One configuration, made ready to train in this process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from trainables.config import Geco, TrialConfig
from trainables.data.dataset import DataFacts, Dataset, data_facts, load
from trainables.data.readers import data_dir
from trainables.errors import ConfigError
from trainables.models.inspection import check_user_model
from trainables.resolve import geco_notes, notes, resolve
from trainables.training.trainer import Trainer
from trainables.worker.reach import Reach, least, next_epoch, reach_config
from tuner.planning.data_notes import describe_data
from tuner.planning.reach import reach_notes

__all__ = ["Ready", "make_ready"]


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
            f"device: {resolved.device} is not here; `--set device=cpu` runs on the CPU, to other last digits"
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
