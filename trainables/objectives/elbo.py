"""The negative evidence lower bound with weight β on the KL (Kingma & Welling 2014; Higgins et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainables.config import TrialConfig
from trainables.config.objectives import Elbo
from trainables.objectives.base import Hyper, Objective, State, Terms


@dataclass(frozen=True)
class ElboObjective(Objective):
    """mean(recon_nll) + β·mean(KL); β = 1 is the negative ELBO.

    Parameters
    ----------
    samples
        K, the draws that recon_nll is averaged over.
    """

    samples: int = 1

    @classmethod
    def of(cls, config: TrialConfig, n_elements: int, total_steps: int) -> ElboObjective:
        assert isinstance(config.objective, Elbo)
        return cls(config.objective.samples)

    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        return terms.mean_recon_nll + hyper["beta"] * terms.mean_kl, state
