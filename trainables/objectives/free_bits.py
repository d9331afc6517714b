"""Free bits (Kingma et al. 2016, arXiv 1606.04934): the first λ nats of each group of latents cost nothing."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.config import TrialConfig
from trainables.config.objectives import FreeBits
from trainables.objectives.base import Constants, Hyper, Objective, State, Terms


@dataclass(frozen=True)
class FreeBitsObjective(Objective):
    """mean(recon_nll) + β·Σ_g max(λ_g, mean Σ_{j∈g} KL_j): the clip is on the batch MEAN of each group's KL.

    Parameters
    ----------
    free_bits
        λ in nats, one for all groups or one each.
    groups
        The number of groups: neighbouring latents, equal in size.
    """

    free_bits: float | tuple[float, ...]
    groups: int

    @classmethod
    def of(cls, config: TrialConfig, n_elements: int, total_steps: int) -> FreeBitsObjective:
        assert isinstance(config.objective, FreeBits)
        return cls(config.objective.free_bits, config.objective.groups or config.model.latent_dim)

    def constants(self) -> Constants:
        each = self.free_bits if isinstance(self.free_bits, tuple) else (self.free_bits,) * self.groups
        return {"free_bits": each}

    @property
    def formula(self) -> Hashable:
        return type(self), self.groups

    def step(self, terms: Terms, state: State, hyper: Hyper) -> tuple[Tensor, State]:
        kl = torch.unflatten(terms.kl.mean(-2), -1, (self.groups, -1)).sum(-1)
        return terms.mean_recon_nll + hyper["beta"] * torch.maximum(kl, hyper["free_bits"]).sum(-1), state
