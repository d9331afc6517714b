"""One architecture per file; `MODELS` is the one place where a kind becomes a model."""

from __future__ import annotations

from collections.abc import Mapping

from trainables.config.models import USER_MODEL, ModelConfig, is_user_kind
from trainables.models.base import Buffers, Model, Params
from trainables.models.conv import ConvVae
from trainables.models.linear_vae import LinearVaeModel
from trainables.models.mlp import MlpVae
from trainables.models.priors import STANDARD_NORMAL, Prior
from trainables.models.user import UserVae

__all__ = [
    "MODELS",
    "Buffers",
    "ConvVae",
    "LinearVaeModel",
    "MlpVae",
    "Model",
    "Params",
    "Prior",
    "UserVae",
    "build_model",
    "build_prior",
    "code_of",
]


MODELS: dict[str, type[Model]] = {
    "mlp": MlpVae,
    "conv": ConvVae,
    "linear-vae": LinearVaeModel,
    USER_MODEL: UserVae,
}


def build_model(config: ModelConfig, shape: tuple[int, ...]) -> Model:
    """The model of a configuration for examples of this shape, D = its product.

    Imports and calls what a user's kind names. Raises ConfigError where the kind cannot take such examples.
    """
    return MODELS[USER_MODEL if is_user_kind(config.kind) else config.kind].of(config, shape)


def build_prior(config: ModelConfig) -> Prior:
    """p(z) of a model: N(0, I) for all that there are."""
    return STANDARD_NORMAL


def code_of(model: Model) -> Mapping[str, str]:
    """By its kind, the digest of the source of a user's model; nothing for a built-in one."""
    return model.code if isinstance(model, UserVae) else {}
