"""What the test set says of a stage's models, kept beside their checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from trainables.config import DataConfig
from trainables.data.dataset import Dataset, load
from trainables.files.checkpoint import FILE_NAME, read
from trainables.global_settings import fresh
from trainables.training.trainer import Trainer
from tuner.sweeps.keeping import write_json

__all__ = ["Measure", "Share", "measured"]

Measure = Callable[[Trainer], dict[str, float]]


@dataclass(frozen=True)
class Share:
    """CPUs and GPUs. Ray hides the GPU from a task that asks for none of it."""

    cpus: float
    gpus: float


def measured(
    measure: Measure,
    file: str,
    folders: Sequence[Path],
    data_dir: Path,
    share: Share,
    on_done: Callable[[], None],
) -> dict[Path, dict[str, float]]:
    """What a measure says of the checkpoints in these folders, by Ray tasks; what is known already is read.

    file: the name under which it is kept in each. share: what a task gets of the machine, as its trial did. on_done:
    called for each.
    """
    import ray

    task = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, max_retries=3)(_measure)
    unknown = [folder for folder in folders if not (folder / file).exists()]
    waiting = {task.remote(measure, folder / file, data_dir): folder for folder in unknown}
    while waiting:
        [done], _ = ray.wait(list(waiting))
        ray.get(done)
        del waiting[done]
        on_done()
    return {folder: json.loads((folder / file).read_text(encoding="utf-8")) for folder in folders}


@fresh()
def _measure(measure: Measure, file: Path, data_dir: Path) -> None:
    checkpoint = read(file.parent / FILE_NAME)
    trainer = Trainer(checkpoint.config, _dataset(checkpoint.config.data, data_dir, checkpoint.config.device))
    trainer.restore(checkpoint)
    write_json(file, measure(trainer))


@lru_cache(maxsize=1)
def _dataset(config: DataConfig, data_dir: Path, device: str) -> Dataset:
    return load(config, data_dir, torch.device(device))
