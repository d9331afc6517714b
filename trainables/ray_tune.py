"""The Tune trainable around a trainer. One actor serves many trials; its data stay on its device."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ray import tune

from trainables import checkpoint as checkpoints
from trainables.config import DataConfig
from trainables.data import Dataset, load
from trainables.paths import parse_config
from trainables.results import write_results
from trainables.trainer import Report, Trainer

__all__ = ["RESULT_KEY", "VaeTrainable"]

RESULT_KEY = "vae_tuner"


@lru_cache(maxsize=1)
def _dataset(config: DataConfig, root: Path, device: str) -> Dataset:
    return load(config, root, torch.device(device))


class VaeTrainable(tune.Trainable):  # type: ignore[misc]
    """Trains one epoch a step and returns its report under RESULT_KEY.

    Its configuration: `trial` (our id), `config` (the resolved TrialConfig as plain data), `folder` (of the sweep's
    trials), `data_dir`.
    """

    def setup(self, config: dict[str, Any]) -> None:
        trial_config = parse_config(config["config"])
        dataset = _dataset(trial_config.data, Path(config["data_dir"]), trial_config.device)
        self.key = str(config["trial"])
        self.folder = Path(config["folder"]) / self.key
        self.trainer = Trainer(trial_config, dataset)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial into this actor."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        report = self.trainer.train_epoch()
        path = self._save(report)
        return {
            RESULT_KEY: {
                "trial": self.key,
                "epoch": report.epoch,
                "metrics": report.metrics,
                "diverged": report.diverged,
                "outcome": report.outcome,
                "checkpoint": path,
            }
        }

    def _save(self, report: Report) -> str | None:
        """The checkpoint is on disk before the epoch is reported; a diverged epoch leaves the one before."""
        if report.diverged:
            return None
        path = self.folder / checkpoints.FILE_NAME
        if report.epoch == self.trainer.config.epochs:
            write_results(self.folder, self.trainer)
        else:
            checkpoints.write(path, self.trainer.checkpoint())
        return checkpoints.FILE_NAME

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        checkpoints.write(Path(checkpoint_dir) / checkpoints.FILE_NAME, self.trainer.checkpoint())

    def load_checkpoint(self, checkpoint: str) -> None:
        self.trainer.restore(checkpoints.read(Path(checkpoint) / checkpoints.FILE_NAME, self.trainer.device))
