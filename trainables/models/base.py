"""What a VAE's networks are: pure functions of their parameters, so that several members can share one step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from trainables.config.models import ModelConfig
from trainables.random_streams import generator

Params = dict[str, Tensor]
Buffers = dict[str, Tensor]


class Model(ABC):
    """Encoder and decoder of a VAE with a diagonal Gaussian posterior.

    Data are flat, [B, D]; an architecture that needs another shape folds them itself. Parameters are named `encoder.…`
    and `decoder.…`: learning rates can differ between the two.

    Attributes
    ----------
    latent_dim
        M, the number of latents.
    """

    latent_dim: int

    @classmethod
    @abstractmethod
    def of(cls, config: ModelConfig, shape: tuple[int, ...]) -> Model:
        """The model of a configuration for examples of this shape; raises ConfigError where it cannot take them."""

    @abstractmethod
    def init(self, seed: int, device: torch.device) -> Params:
        """Initial parameters, each a function of (seed, its name, its shape)."""

    def buffers(self, device: torch.device) -> Buffers:
        """What it keeps from step to step without training it, such as running statistics; nothing by default.

        `encode` and `decode` get the buffers among the parameters. In a train step that is a dictionary in which they
        may put the next value of a buffer in place of this one.
        """
        return {}

    @abstractmethod
    def encode(self, params: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z|x). x [B, D] → two of [B, M]."""

    @abstractmethod
    def decode(self, params: Mapping[str, Tensor], z: Tensor) -> Tensor:
        """The last layer's output, before the sigmoid where there is one: logits. z [B, M] → [B, D]."""


def initial_uniform(name: str, shape: tuple[int, ...], fan_in: int, seed: int, device: torch.device) -> Tensor:
    """U(−1/√fan_in, 1/√fan_in), torch's default for linear layers; drawn on the CPU so that devices agree."""
    bound = 1 / math.sqrt(fan_in)
    values = torch.rand(shape, generator=generator("cpu", seed, f"init/{name}"))
    return ((2 * values - 1) * bound).to(device)


def linear(params: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """x·Wᵀ + b with the parameters `name.weight` and `name.bias`."""
    return functional.linear(x, params[f"{name}.weight"], params[f"{name}.bias"])


def linear_params(name: str, n_in: int, n_out: int, seed: int, device: torch.device) -> Params:
    """Initial parameters for `linear`."""
    return {
        f"{name}.weight": initial_uniform(f"{name}.weight", (n_out, n_in), n_in, seed, device),
        f"{name}.bias": initial_uniform(f"{name}.bias", (n_out,), n_in, seed, device),
    }
