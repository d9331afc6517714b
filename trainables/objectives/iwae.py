"""The importance-weighted bound (Burda, Grosse & Salakhutdinov 2015, arXiv 1509.00519)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables import distributions
from trainables.config import TrialConfig
from trainables.config.objectives import Iwae
from trainables.objectives.base import Hyper, Objective, State, Terms


@dataclass(frozen=True)
class IwaeObjective(Objective):
    """−mean log (1/K)Σ_k w_k with log w_k = −recon_nll_k − β·(log q(z_k|x) − log p(z_k)).

    At β = 1 it is a bound of −log p(x) that falls with K; at K = 1 the negative ELBO, its KL estimated by the draw.
    Gradients are the reparameterised ones: through z and through q.

    Parameters
    ----------
    samples
        K.
    """

    samples: int

    @classmethod
    def of(cls, config: TrialConfig, n_elements: int, total_steps: int) -> IwaeObjective:
        assert isinstance(config.objective, Iwae)
        return cls(config.objective.samples)

    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        log_weights = -(terms.recon_nll + hyper["beta"][..., None] * terms.log_ratio)
        bounds = distributions.log_mean_exp(torch.unflatten(log_weights, -1, (self.samples, -1)), dim=-2)
        return -bounds.mean(-1), state
