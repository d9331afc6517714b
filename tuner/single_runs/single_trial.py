"""One configuration, made ready to train in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from trainables.config import Geco, TrialConfig
from trainables.data import data_facts, load
from trainables.errors import ConfigError
from trainables.models.inspection import check_user_model
from trainables.resolve import geco_notes, notes, resolve
from trainables.sources import data_dir
from trainables.trainer import Trainer
from tuner.planning.data_notes import describe_data

__all__ = ["Ready", "make_ready"]


@dataclass(frozen=True)
class Ready:
    """The trainer of a resolved configuration. notes: what the user should know of its data and model."""

    trainer: Trainer
    notes: tuple[str, ...]


def make_ready(config: TrialConfig, chosen_data_dir: Path | None = None) -> Ready:
    """Settle what `auto` means here and load the data; raises UserError for what cannot be trained."""
    root = data_dir(chosen_data_dir)
    facts = data_facts(config.data, root)
    resolved = resolve(config, facts, device="cuda" if torch.cuda.is_available() else "cpu")
    model_notes = check_user_model(resolved.model, facts.shape)
    if resolved.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"device: {resolved.device} is not here; `--set device=cpu` runs on the CPU, to other last digits"
        )
    trainer = Trainer(resolved, load(resolved.data, root, torch.device(resolved.device)))
    geco = geco_notes(resolved, facts) if isinstance(resolved.objective, Geco) else ()
    return Ready(trainer, (*describe_data(resolved, facts), *notes(resolved, facts), *geco, *model_notes))
