"""Convolutions of stride 2 and their mirror image (sizes as in Surendran et al. 2024, arXiv 2410.16750)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from trainables.config.models import Conv, ModelConfig
from trainables.errors import ConfigError
from trainables.models.activations import ACTIVATIONS, bounded_heads
from trainables.models.base import Model, Params, initial_uniform, linear_params
from trainables.models.linear import linear

KERNEL, STRIDE, PADDING = 4, 2, 1
MIN_GROUP = 4
"""Values in a group of GroupNorm: of one it makes a constant, of two their order."""


@dataclass(frozen=True)
class ConvVae(Model):
    """Images → stages → hidden → (mean, log-variance) of M latents → hidden → stages reversed → images.

    A stage is a convolution (kernel 4, stride 2, padding 1) that halves height and width, rounding down, then GroupNorm
    and the activation; its mirror image is a transposed convolution back to the exact size.
    sizes: (height, width) before, between and after the stages. channels: of the image and of each stage.
    """

    sizes: tuple[tuple[int, int], ...]
    channels: tuple[int, ...]
    hidden: int
    latent_dim: int
    groups: int
    activation: str

    @classmethod
    def of(cls, config: ModelConfig, shape: tuple[int, ...]) -> ConvVae:
        """For images H×W or C×H×W; raises ConfigError for other data, and where there are too many stages."""
        assert isinstance(config, Conv)
        if len(shape) not in (2, 3):
            raise ConfigError(
                f"model.kind: conv needs images of H×W or C×H×W, these examples are of {_shown(shape)}; use mlp"
            )
        n_channels, size = (shape[0] if len(shape) == 3 else 1), (shape[-2], shape[-1])
        sizes = [size]
        for _ in config.channels:
            sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
        if min(sizes[-1]) < 1:
            allowed = min(size).bit_length() - 1
            raise ConfigError(
                f"model.channels: {len(config.channels)} stages that each halve an image of {_shown(size)} leave "
                f"nothing; allowed: at most {allowed} here; "
                + ("shorten the list" if allowed else "use model.kind mlp")
            )
        n_features = config.channels[-1] * math.prod(sizes[-1])
        if n_features < MIN_GROUP:
            raise ConfigError(
                f"model.channels: {list(config.channels)} leaves {n_features} values of an image of {_shown(size)}, "
                f"too few to normalise; allowed: at least {MIN_GROUP}; use more channels or fewer stages"
            )
        channels = (n_channels, *config.channels)
        return cls(tuple(sizes), channels, config.hidden, config.latent_dim, config.groups, config.activation)

    def init(self, seed: int, device: torch.device) -> Params:
        params: Params = {}
        for i, (n_in, n_out) in enumerate(pairwise(self.channels)):
            shape = (n_out, n_in, KERNEL, KERNEL)
            params[f"encoder.{i}.weight"] = initial_uniform(
                f"encoder.{i}.weight", shape, n_in * KERNEL**2, seed, device
            )
            params |= _norm_params(f"encoder.{i}.norm", n_out, device)
        params |= linear_params("encoder.hidden", self._n_features, self.hidden, seed, device)
        params |= linear_params("encoder.head", self.hidden, 2 * self.latent_dim, seed, device)
        params |= linear_params("decoder.hidden", self.latent_dim, self.hidden, seed, device)
        params |= linear_params("decoder.features", self.hidden, self._n_features, seed, device)
        for i, (n_out, n_in) in reversed(list(enumerate(pairwise(self.channels)))):
            shape, fan_in = (n_in, n_out, KERNEL, KERNEL), n_out * KERNEL**2
            params[f"decoder.{i}.weight"] = initial_uniform(f"decoder.{i}.weight", shape, fan_in, seed, device)
            if i > 0:
                params |= _norm_params(f"decoder.{i}.norm", n_out, device)
        params["decoder.0.bias"] = initial_uniform("decoder.0.bias", self.channels[:1], fan_in, seed, device)
        return params

    def encode(self, params: Mapping[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        activation = ACTIVATIONS[self.activation]
        x = x.reshape(-1, self.channels[0], *self.sizes[0])
        for i in range(self._n_stages):
            x = functional.conv2d(x, params[f"encoder.{i}.weight"], stride=STRIDE, padding=PADDING)
            x = activation(self._normed(params, f"encoder.{i}.norm", x))
        x = activation(linear(params, "encoder.hidden", x.flatten(1)))
        mean, log_variance = linear(params, "encoder.head", x).chunk(2, dim=-1)
        return bounded_heads(self.activation, mean, log_variance)

    def decode(self, params: Mapping[str, Tensor], z: Tensor) -> Tensor:
        activation = ACTIVATIONS[self.activation]
        x = activation(linear(params, "decoder.hidden", z))
        x = activation(linear(params, "decoder.features", x))
        x = x.reshape(-1, self.channels[-1], *self.sizes[-1])
        for i in reversed(range(1, self._n_stages)):
            x = self._enlarged(params, i, x)
            x = activation(self._normed(params, f"decoder.{i}.norm", x))
        return self._enlarged(params, 0, x, params["decoder.0.bias"]).flatten(1)

    def _enlarged(self, params: Mapping[str, Tensor], i: int, x: Tensor, bias: Tensor | None = None) -> Tensor:
        height, width = self.sizes[i]
        return functional.conv_transpose2d(
            x,
            params[f"decoder.{i}.weight"],
            bias,
            stride=STRIDE,
            padding=PADDING,
            output_padding=(height % 2, width % 2),
        )

    def _normed(self, params: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
        n_groups = _n_groups(x.shape[-3], x.shape[-2] * x.shape[-1], self.groups)
        return functional.group_norm(x, n_groups, params[f"{name}.weight"], params[f"{name}.bias"])

    @property
    def _n_stages(self) -> int:
        return len(self.channels) - 1

    @property
    def _n_features(self) -> int:
        return self.channels[-1] * math.prod(self.sizes[-1])


def _shown(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) if len(shape) > 1 else f"{shape[0]} numbers"


def _norm_params(name: str, n_channels: int, device: torch.device) -> Params:
    return {
        f"{name}.weight": torch.ones(n_channels, device=device),
        f"{name}.bias": torch.zeros(n_channels, device=device),
    }


def _n_groups(n_channels: int, n_positions: int, at_most: int) -> int:
    """The largest divisor of the channels that is allowed and leaves enough values to a group."""
    sizes = range(1, min(at_most, n_channels) + 1)
    return max((n for n in sizes if n_channels % n == 0 and n_channels // n * n_positions >= MIN_GROUP), default=1)
