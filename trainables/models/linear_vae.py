"""The linear VAE: probabilistic PCA, the model with closed forms (Ichikawa & Hukushima 2023, arXiv 2310.15440)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.config.models import ModelConfig
from trainables.models.base import Model, Params, linear_params
from trainables.models.linear import linear


@dataclass(frozen=True)
class LinearVaeModel(Model):
    """q(z|x) = N(Vx + v, diag D) with D the same for all x; decoder Wz + w."""

    batched = True

    n_elements: int
    latent_dim: int

    @classmethod
    def of(cls, config: ModelConfig, shape: tuple[int, ...]) -> LinearVaeModel:
        return cls(math.prod(shape), config.latent_dim)

    def init(self, seed: int, device: torch.device) -> Params:
        params = linear_params("encoder", self.n_elements, self.latent_dim, seed, device)
        params |= linear_params("decoder", self.latent_dim, self.n_elements, seed, device)
        return params | {"encoder.log_variance": torch.zeros(self.latent_dim, device=device)}

    def encode(self, params: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        mean = linear(params, "encoder", x)
        return mean, params["encoder.log_variance"].unsqueeze(-2).expand_as(mean)

    def decode(self, params: Mapping[str, Tensor], z: Tensor) -> Tensor:
        return linear(params, "decoder", z)
