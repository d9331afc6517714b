"""One optimiser per file; `OPTIMIZERS` is the one place where a kind becomes an optimiser."""

from __future__ import annotations

from trainables.config import TrialConfig
from trainables.optimizers.adam import AdamOptimizer
from trainables.optimizers.adamw import AdamWOptimizer
from trainables.optimizers.base import ONE_GROUP, LrGroups, Moments, Optimizer, is_decayed
from trainables.optimizers.clipping import clip_by_norm, global_norm
from trainables.optimizers.radam import RAdamOptimizer
from trainables.optimizers.sgd import SgdOptimizer

__all__ = [
    "ONE_GROUP",
    "OPTIMIZERS",
    "AdamOptimizer",
    "AdamWOptimizer",
    "LrGroups",
    "Moments",
    "Optimizer",
    "RAdamOptimizer",
    "SgdOptimizer",
    "build_optimizer",
    "clip_by_norm",
    "global_norm",
    "is_decayed",
]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adam": AdamOptimizer,
    "adamw": AdamWOptimizer,
    "radam": RAdamOptimizer,
    "sgd": SgdOptimizer,
}


def build_optimizer(config: TrialConfig) -> Optimizer:
    """The optimiser of a configuration, with the learning-rate factors of encoder and decoder.

    Parameters
    ----------
    config
        Its sections `optimizer` and `lr` are used.

    Returns
    -------
    Optimizer
        Without a state; `init` gives the first.
    """
    groups = LrGroups(config.lr.encoder, config.lr.decoder)
    return OPTIMIZERS[config.optimizer.kind](config.optimizer, groups)
