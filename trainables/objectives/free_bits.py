"""Free bits (Kingma et al. 2016, arXiv 1606.04934): the first λ nats of each latent dimension cost nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.objectives.base import Hyper, State, Terms

__all__ = ["FreeBitsObjective"]


@dataclass(frozen=True)
class FreeBitsObjective:
    """mean(recon_nll) + β·Σ_j max(λ, mean KL_j): the clip is on the batch MEAN of each dimension's KL."""

    free_bits: float

    def constants(self) -> dict[str, float]:
        return {"free_bits": self.free_bits}

    def init(self) -> dict[str, float]:
        return {}

    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        clipped = torch.maximum(terms.kl.mean(0), hyper["free_bits"])
        return terms.recon_nll.mean() + hyper["beta"] * clipped.sum(), state
