"""RAdam (Liu et al. 2020, arXiv 1908.03265)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.config.optimizers import RAdam
from trainables.optimizers.adam import Adaptive


@dataclass(frozen=True)
class RAdamOptimizer(Adaptive):
    """r·m̂·√(1 − β₂ᵗ)/(√v + ε) once it is rectified; before that m̂ within [−1, 1] per element.

    Liu et al. and torch take m̂ as it is, in the unit of the gradients: our losses are sums over pixels, and five such
    steps throw a model of 12,288 pixels out of all numbers. Within the bound nothing differs; beyond it the step is of
    size lr, as Adam's first.
    """

    config: RAdam

    def scaled(self, first: Tensor, second: Tensor, t: Tensor) -> Tensor:
        of_first, of_second = (1 - beta**t for beta in (self.config.beta1, self.config.beta2))
        r = _rectification(self.config.beta2, t, of_second)
        corrected, scale = first / of_first.to(first.dtype), (r * of_second.sqrt()).to(first.dtype)
        rectified = corrected * (scale / (second.sqrt() + self.config.eps))
        return torch.where(r > 0, rectified, corrected.clamp(-1.0, 1.0))


def _rectification(beta2: float, t: Tensor, correction: Tensor) -> Tensor:
    """r where more than 5 gradients stand behind v, else 0; correction: 1 − β₂ᵗ.

    ρ∞ = 2/(1 − β₂) − 1;  ρ = ρ∞ − 2tβ₂ᵗ/(1 − β₂ᵗ);  r² = (ρ − 4)(ρ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρ)
    """
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * (1 - correction) / correction
    squared = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return torch.where(length > 5, squared.clamp(min=0).sqrt(), torch.zeros_like(t))
