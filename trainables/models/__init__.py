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
    """The model of a configuration.

    Parameters
    ----------
    config
        The section `model`. A user's kind is imported and called.
    shape
        Of one example; D is its product.

    Returns
    -------
    Model
        Encoder and decoder, without parameters.

    Raises
    ------
    ConfigError
        The kind cannot take such examples.

    Examples
    --------
    >>> from trainables.config.models import Mlp
    >>> build_model(Mlp(latent_dim=3), (8, 8)).latent_dim
    3
    """
    return MODELS[USER_MODEL if is_user_kind(config.kind) else config.kind].of(config, shape)


def build_prior(config: ModelConfig) -> Prior:
    """p(z) of a model: N(0, I) for every kind.

    Parameters
    ----------
    config
        The section `model`.

    Returns
    -------
    Prior
        The prior.
    """
    return STANDARD_NORMAL


def code_of(model: Model) -> Mapping[str, str]:
    """The digest of the source of a user's model.

    Parameters
    ----------
    model
        As `build_model` returns it.

    Returns
    -------
    Mapping of str to str
        The digest by kind; empty for a built-in model.
    """
    return model.code if isinstance(model, UserVae) else {}
