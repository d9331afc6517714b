"""The negative evidence lower bound with weight β on the KL (Kingma & Welling 2014; Higgins et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainables.objectives.base import Hyper, State, Terms

__all__ = ["ElboObjective"]


@dataclass(frozen=True)
class ElboObjective:
    """mean(recon_nll) + β·mean(KL); β = 1 is the negative ELBO."""

    def constants(self) -> dict[str, float]:
        return {}

    def init(self) -> dict[str, float]:
        return {}

    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        return terms.recon_nll.mean() + hyper["beta"] * terms.kl.sum(-1).mean(), state
