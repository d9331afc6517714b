"""What a trial gets of the machine, and how many run at once."""

from __future__ import annotations

import os

import torch

from trainables.config import TrialConfig
from trainables.data import DataFacts, held_on_device
from trainables.errors import ConfigError
from tuner.spec import SweepSpec

__all__ = ["concurrency_of", "gpus_of", "memory_share", "placement_notes"]


def gpus_of(spec: SweepSpec, default: TrialConfig) -> float:
    """Refuses what this machine lacks: Tune would wait for it for ever."""
    chosen = spec.resources.gpus_per_trial
    gpus = float(default.device != "cpu") if chosen == "auto" else chosen
    here = torch.cuda.device_count()
    if spec.resources.ray_address is None and gpus > here:
        field = f"device: {default.device}" if chosen == "auto" else f"resources.gpus_per_trial: {chosen:g}"
        raise ConfigError(
            f"{field} needs {gpus:g} GPU and this machine has {here}; use --device cpu --gpus-per-trial 0"
        )
    return gpus


def concurrency_of(spec: SweepSpec, gpus: float) -> int:
    here = os.cpu_count() or 1
    if spec.resources.ray_address is None and spec.resources.cpus_per_trial > here:
        raise ConfigError(
            f"resources.cpus_per_trial: {spec.resources.cpus_per_trial:g} is not allowed; allowed: at most {here}, the "
            "cores of this machine"
        )
    if spec.resources.concurrency != "auto":
        return spec.resources.concurrency
    if gpus:
        return max(1, int(torch.cuda.device_count() / gpus))
    return max(1, int(here / spec.resources.cpus_per_trial))


def memory_share(gpus: float, concurrency: int) -> float:
    """The part of its device's memory that a trial may count on."""
    return min(1.0, gpus) if gpus else 1 / concurrency


def placement_notes(config: TrialConfig, facts: DataFacts, memory_share: float) -> list[str]:
    device = torch.device(config.device).type
    if held_on_device(facts.train_bytes, torch.device(device), memory_share):
        return []
    return [
        f"the training examples take {facts.train_bytes / 2**30:.1f} GiB, more than a quarter of a trial's share of "
        f"the {device}'s memory: they stay in host memory, and batches are fetched ahead of their steps"
    ]
