"""Free bits (Kingma et al. 2016, arXiv 1606.04934): the first λ nats of each group of latents cost nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainables.objectives.base import Constants, Hyper, State, Terms

__all__ = ["FreeBitsObjective"]


@dataclass(frozen=True)
class FreeBitsObjective:
    """mean(recon_nll) + β·Σ_g max(λ_g, mean Σ_{j∈g} KL_j): the clip is on the batch MEAN of each group's KL.

    free_bits: λ, one for all groups or one each. groups: of neighbours, equal in size.
    """

    samples: ClassVar[int] = 1
    free_bits: float | tuple[float, ...]
    groups: int

    def constants(self) -> Constants:
        return {"free_bits": self.free_bits}

    def init(self) -> dict[str, float]:
        return {}

    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        kl = terms.kl.mean(0).reshape(self.groups, -1).sum(-1)
        return terms.mean_recon_nll + hyper["beta"] * torch.maximum(kl, hyper["free_bits"]).sum(), state
