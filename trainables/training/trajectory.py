"""The path of a trial over its steps, as the figures of GECO's paper show it."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.training.step import Record
from trainables.training.trainer import Trainer

EVERY = 10


def trajectory(trainer: Trainer, every: int = EVERY) -> dict[str, list[float]]:
    """Train a trial to its end and keep every tenth step, from the first on.

    By name, a value for each kept step: `step`, and of its batch `recon_nll` and `kl`; under GECO after it `lambda` and
    the constraint's moving average `moving`. Nothing is read from the device within an epoch.
    """
    steps: list[float] = []
    kept: list[dict[str, Tensor]] = []
    while trainer.epoch < trainer.config.epochs:
        first = trainer.epoch * trainer.steps_per_epoch
        for step, record in enumerate(trainer.steps(), first):
            if step % every == 0:
                steps.append(float(step))
                kept.append(_values(trainer, record))
    columns = torch.stack([torch.stack(list(values.values())) for values in kept]).T.tolist()
    return {"step": steps, **dict(zip(kept[0], columns, strict=True))}


def _values(trainer: Trainer, record: Record) -> dict[str, Tensor]:
    (state,) = record.states
    found = {"recon_nll": record.recon_nll, "kl": record.kl, **trainer.program.objective.traced(state)}
    return {name: value[0] for name, value in found.items()}
