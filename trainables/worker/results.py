"""The files a finished trial leaves beside its checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from trainables.config import TrialConfig
from trainables.config.paths import plain
from trainables.files.checkpoint import Checkpoint, write
from trainables.files.pictures import is_image, write_grid
from trainables.files.trial_files import BEST_NAME, FILE_NAME
from trainables.training.report import Report
from trainables.training.trainer import Trainer
from trainables.vae import Vae

GRID = 8


def config_yaml(config: TrialConfig) -> str:
    """A configuration as YAML that `vae-tuner train` reads back to the same tree."""
    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)


def write_results(folder: Path, trainer: Trainer, report: Report | None = None, best: Checkpoint | None = None) -> None:
    """config.yaml, for images samples.png and reconstructions.png, and last of all checkpoint.safetensors.

    best: of the epoch that counts where it is not the last; the pictures are of it, and best.safetensors is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = trainer.checkpoint(report)
    (folder / "config.yaml").write_text(config_yaml(trainer.config), encoding="utf-8")
    if is_image(trainer.dataset.shape):
        _write_pictures(folder, trainer, Vae(best or checkpoint, trainer.program))
    if best:
        write(folder / BEST_NAME, best)
    write(folder / FILE_NAME, checkpoint)


def _write_pictures(folder: Path, trainer: Trainer, vae: Vae) -> None:
    """Samples from the prior; validation images above their reconstructions, row by row."""
    dataset = trainer.dataset
    write_grid(folder / "samples.png", vae.sample(GRID * GRID, seed=0).reshape(GRID, GRID, -1), dataset.shape)
    n = min(len(dataset.val), GRID * GRID // 2)
    originals = dataset.floats(dataset.val[:n])
    columns = min(GRID, n)
    pairs = [originals, vae.reconstruct(originals).reshape(n, -1)]
    rows = [part[start : start + columns] for start in range(0, n - columns + 1, columns) for part in pairs]
    write_grid(folder / "reconstructions.png", torch.stack(rows), dataset.shape)
