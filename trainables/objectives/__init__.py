"""One objective per file; `build_objective` is the one place where a kind becomes an objective."""

from __future__ import annotations

import math

from trainables.config import Elbo, FreeBits, Geco, Iwae, OptimizerConfig, RAdam, Sgd, TrialConfig
from trainables.objectives.base import Constants, Hyper, Objective, State, Terms
from trainables.objectives.elbo import ElboObjective
from trainables.objectives.free_bits import FreeBitsObjective
from trainables.objectives.geco import GecoObjective, Violation, outcome
from trainables.objectives.iwae import IwaeObjective

__all__ = [
    "Constants",
    "ElboObjective",
    "FreeBitsObjective",
    "GecoObjective",
    "Hyper",
    "IwaeObjective",
    "Objective",
    "State",
    "Terms",
    "Violation",
    "build_objective",
    "outcome",
    "updates_to_settle",
]

SETTLING_UPDATES = 1_000  # docs/geco-regimes.md
SETTLING_BATCH = 32


def build_objective(config: TrialConfig, n_elements: int, total_steps: int) -> Objective:
    """The objective of a resolved configuration."""
    match config.objective:
        case Elbo(samples=samples):
            return ElboObjective(samples)
        case Iwae(samples=samples):
            return IwaeObjective(samples)
        case FreeBits(free_bits=free_bits, groups=groups):
            return FreeBitsObjective(free_bits, groups or config.model.latent_dim)
        case Geco(kappa=float(kappa), constraint=constraint):
            bounded, settling = _feels_the_size_of_a_loss(config.optimizer), updates_to_settle(config)
            return GecoObjective(kappa, constraint, n_elements, config.model.latent_dim, total_steps, settling, bounded)
        case Geco():
            raise ValueError("objective.kappa must be resolved before training")


def updates_to_settle(config: TrialConfig) -> int:
    """The updates that GECO's λ takes to settle: 1,000, times √(32/B) for a batch B below 32, twice that under SGD."""
    slower = 2 if isinstance(config.optimizer, Sgd) else 1
    return math.ceil(slower * SETTLING_UPDATES * math.sqrt(max(1.0, SETTLING_BATCH / config.batch_size)))


def _feels_the_size_of_a_loss(optimizer: OptimizerConfig) -> bool:
    """Whether a loss ten times as large makes another step: always under SGD, in RAdam's first steps, and where
    gradients are clipped.
    """
    return isinstance(optimizer, Sgd | RAdam) or (optimizer.clip_norm, optimizer.clip_value) != (None, None)
