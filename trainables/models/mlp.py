"""Fully connected encoder and decoder (Kingma & Welling 2014, arXiv 1312.6114)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from trainables.config.models import Mlp, ModelConfig
from trainables.models.activations import ACTIVATIONS, bounded_heads
from trainables.models.base import Model, Params, linear_params
from trainables.models.linear import linear


@dataclass(frozen=True)
class MlpVae(Model):
    """D → hidden → (mean, log-variance) of M latents → hidden reversed → D."""

    batched = True

    n_elements: int
    latent_dim: int
    hidden: tuple[int, ...]
    activation: str

    @classmethod
    def of(cls, config: ModelConfig, shape: tuple[int, ...]) -> MlpVae:
        assert isinstance(config, Mlp)
        return cls(math.prod(shape), config.latent_dim, config.hidden, config.activation)

    def init(self, seed: int, device: torch.device) -> Params:
        sizes = (self.n_elements, *self.hidden)
        layers = {f"encoder.{i}": pair for i, pair in enumerate(pairwise(sizes))}
        layers["encoder.head"] = (sizes[-1], 2 * self.latent_dim)
        layers |= {f"decoder.{i}": pair for i, pair in enumerate(pairwise((self.latent_dim, *reversed(self.hidden))))}
        layers["decoder.head"] = (sizes[1], self.n_elements)
        params: Params = {}
        for name, (n_in, n_out) in layers.items():
            params |= linear_params(name, n_in, n_out, seed, device)
        return params

    def encode(self, params: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self._network(params, "encoder", x).chunk(2, dim=-1)
        return bounded_heads(self.activation, mean, log_variance)

    def decode(self, params: Mapping[str, Tensor], z: Tensor) -> Tensor:
        return self._network(params, "decoder", z)

    def _network(self, params: Mapping[str, Tensor], side: str, x: Tensor) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        for i in range(len(self.hidden)):
            x = activation(linear(params, f"{side}.{i}", x))
        return linear(params, f"{side}.head", x)
