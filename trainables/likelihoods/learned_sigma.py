"""The Gaussian likelihood whose σ is a parameter: σ = √(1/256² + exp(log_variance)).

The floor, a gray level of an 8-bit image, keeps the likelihood of data that lie on a grid bounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.config import TrialConfig
from trainables.errors import ConfigError
from trainables.likelihoods.gaussian import Gaussian

FLOOR = 1 / 256
PARAMETER = "likelihood.log_variance"


@dataclass(frozen=True)
class LearnedSigma(Gaussian):
    """N(x; mean, σ²I) with σ learned together with the decoder, from `start` on."""

    @classmethod
    def check(cls, config: TrialConfig) -> None:
        sigma = config.model.sigma
        if isinstance(sigma, float) and sigma <= FLOOR:
            raise ConfigError(
                f"model.sigma: {sigma:g} is not above 1/256, below which a learned sigma cannot go; raise it or set "
                "model.learn_sigma to false"
            )

    def init(self, device: torch.device) -> dict[str, Tensor]:
        """The parameter whose σ is the start, above the floor."""
        return {PARAMETER: torch.tensor(math.log(self.start**2 - FLOOR**2), device=device)}

    def sigma_of(self, params: Mapping[str, Tensor], hyper: Mapping[str, Tensor]) -> Tensor:
        return (FLOOR**2 + params[PARAMETER].exp()).sqrt()

    def final_sigma(self, params: Mapping[str, Tensor]) -> float:
        return float(self.sigma_of(params, {}).detach())
