"""One objective per file; `build_objective` is the one place where a kind becomes an objective."""

from __future__ import annotations

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
]


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
            bounded = _feels_the_size_of_a_loss(config.optimizer)
            return GecoObjective(kappa, constraint, n_elements, config.model.latent_dim, total_steps, bounded)
        case Geco():
            raise ValueError("objective.kappa must be resolved before training")


def _feels_the_size_of_a_loss(optimizer: OptimizerConfig) -> bool:
    """Whether a loss ten times as large makes another step: always under SGD, in RAdam's first steps, and where
    gradients are clipped.
    """
    return isinstance(optimizer, Sgd | RAdam) or (optimizer.clip_norm, optimizer.clip_value) != (None, None)
