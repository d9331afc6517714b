"""What an epoch costs on this machine, from a few steps of the default configuration."""

from __future__ import annotations

import torch

from trainables.data.dataset import load
from trainables.global_settings import fresh
from trainables.training.trainer import Trainer
from trainables.values import steps_per_epoch
from tuner.planning.plans import Plan

PROBE_STEPS = 20


@fresh()
def seconds_per_epoch(plan: Plan) -> float | None:
    """Time an epoch of the default configuration, from a few steps alone on the machine; nothing is kept.

    Parameters
    ----------
    plan
        Of the sweep.

    Returns
    -------
    float or None
        Seconds; None where trials run on GPUs of a cluster and this machine has none.
    """
    config = plan.default
    if config.device != "cpu" and not torch.cuda.is_available():
        return None
    n_probe = min(plan.facts.n_train, PROBE_STEPS * config.batch_size)
    probe = config.model_copy(update={"data": config.data.model_copy(update={"n_train": n_probe})})
    trainer = Trainer(probe, load(probe.data, plan.data_dir, torch.device(config.device)))
    trainer.train_epoch()
    metrics = trainer.train_epoch().metrics
    n_trained = steps_per_epoch(n_probe, config.batch_size) * config.batch_size
    evaluation = metrics["time/epoch_s"] - n_trained / metrics["time/samples_per_s"]
    return plan.facts.n_train / metrics["time/samples_per_s"] + evaluation
