"""What the test set says of a stage's models, kept beside their checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import torch

from trainables.checkpoint import FILE_NAME, read
from trainables.config import DataConfig
from trainables.data import Dataset, load
from trainables.held_out import held_out_metrics
from trainables.trainer import Trainer

__all__ = ["measured"]

FILE = "test.json"


def measured(
    folders: Sequence[Path], data_dir: Path, draws: int, cpus: float, on_done: Callable[[], None]
) -> dict[Path, dict[str, float]]:
    """`test/*` of the checkpoints in these folders, by Ray tasks; those that are known already are read.

    draws: of z, averaged over. on_done: called for each.
    """
    import ray

    task = ray.remote(num_cpus=cpus, max_retries=3)(_measure)
    waiting = {task.remote(folder, data_dir, draws): folder for folder in folders if not _known(folder)}
    while waiting:
        [done], _ = ray.wait(list(waiting))
        ray.get(done)
        del waiting[done]
        on_done()
    return {folder: _read(folder) for folder in folders}


def _known(folder: Path) -> bool:
    return (folder / FILE).exists()


def _read(folder: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return found


def _measure(folder: Path, data_dir: Path, draws: int) -> None:
    checkpoint = read(folder / FILE_NAME)
    trainer = Trainer(checkpoint.config, _dataset(checkpoint.config.data, data_dir, checkpoint.config.device))
    trainer.restore(checkpoint)
    partial = folder / f"{FILE}.partial"
    partial.write_text(json.dumps(held_out_metrics(trainer, draws)), encoding="utf-8")
    partial.replace(folder / FILE)


@lru_cache(maxsize=1)
def _dataset(config: DataConfig, data_dir: Path, device: str) -> Dataset:
    return load(config, data_dir, torch.device(device))
