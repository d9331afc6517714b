"""One architecture per file; `build_model` is the one place where a kind becomes a model."""

from __future__ import annotations

import math

from trainables.config import LinearVae, Mlp, ModelConfig
from trainables.models.base import Model, Params
from trainables.models.linear_vae import LinearVaeModel
from trainables.models.mlp import MlpVae

__all__ = ["LinearVaeModel", "MlpVae", "Model", "Params", "build_model"]


def build_model(config: ModelConfig, shape: tuple[int, ...]) -> Model:
    """The model of a configuration for examples of this shape, D = its product."""
    n_elements = math.prod(shape)
    match config:
        case Mlp():
            return MlpVae(n_elements, config.latent_dim, config.hidden, config.activation)
        case LinearVae():
            return LinearVaeModel(n_elements, config.latent_dim)
