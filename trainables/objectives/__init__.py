"""One objective per file; `build_objective` is the one place where a kind becomes an objective."""

from __future__ import annotations

from trainables.config import Elbo, FreeBits, Geco, TrialConfig
from trainables.objectives.base import Hyper, Objective, State, Terms
from trainables.objectives.elbo import ElboObjective
from trainables.objectives.free_bits import FreeBitsObjective
from trainables.objectives.geco import GecoObjective, outcome

__all__ = [
    "ElboObjective",
    "FreeBitsObjective",
    "GecoObjective",
    "Hyper",
    "Objective",
    "State",
    "Terms",
    "build_objective",
    "outcome",
]


def build_objective(config: TrialConfig, n_elements: int, total_steps: int) -> Objective:
    """The objective of a resolved configuration."""
    match config.objective:
        case Elbo():
            return ElboObjective()
        case FreeBits(free_bits=free_bits):
            return FreeBitsObjective(free_bits)
        case Geco(kappa=float(kappa), constraint=constraint):
            clipped = config.optimizer.clip_norm is not None
            return GecoObjective(kappa, constraint, n_elements, config.model.latent_dim, total_steps, clipped)
        case Geco():
            raise ValueError("objective.kappa must be resolved before training")
