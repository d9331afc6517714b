"""The architectures."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from trainables.values import Auto, Count, Optional, Positive, Section

USER_MODEL = "package.module:factory"

Activation = Literal["relu", "tanh", "softplus", "soft-clip"]
Output = Literal["auto", "identity", "sigmoid"]


def _not_empty(layers: tuple[int, ...]) -> tuple[int, ...]:
    if not layers:
        raise ValueError("at least one layer")
    return layers


def _factory(kind: str) -> str:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", kind):
        raise ValueError(f"{USER_MODEL}, as in mypkg.nets:make")
    return kind


def is_user_kind(kind: Any) -> bool:
    """Whether a kind names a function of the user's."""
    return isinstance(kind, str) and ":" in kind


def is_argument_name(key: Any) -> bool:
    """Whether a key below `model.kwargs` can be part of a path."""
    return isinstance(key, str) and re.fullmatch(r"[\w-]+", key) is not None


def _arguments(values: dict[str, Any]) -> dict[str, Any]:
    """What JSON can say, so that it survives a journal, MLflow and a file; tuples are lists."""
    kept: dict[str, Any] = _without_tuples(values)
    for name, value in kept.items():
        if not (is_argument_name(name) and _survives(value)):
            raise ValueError(
                f"{name} = {value!r} is not allowed; allowed: finite numbers, words, booleans, null, lists and "
                "mappings, by names of letters, digits, _ and -"
            )
    return kept


def _without_tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_tuples(below) for key, below in value.items()}
    return [_without_tuples(below) for below in value] if isinstance(value, list | tuple) else value


def _survives(value: Any) -> bool:
    if isinstance(value, dict):
        return all(is_argument_name(key) and _survives(below) for key, below in value.items())
    if isinstance(value, list):
        return all(map(_survives, value))
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


Layers = Annotated[tuple[Count, ...], AfterValidator(_not_empty)]


class _Model(Section):
    """latent_dim: number of latents.

    sigma: standard deviation of a Gaussian likelihood, in units of the data; `auto` is 0.6 of the RMS error of the mean
        image. Unused (null) under a Bernoulli likelihood.
    learn_sigma: train σ with the decoder, from `sigma` on and never below 1/256.
    """

    latent_dim: Count = 16
    sigma: Annotated[Positive | Auto | None, Optional] = "auto"
    learn_sigma: bool = False


class Mlp(_Model):
    """Fully connected encoder and decoder, mirrored (Kingma & Welling 2014).

    hidden: units of the encoder's layers; the decoder has them in reverse.
    activation: `soft-clip` bounds hidden layers to (0, 50) and both heads (Surendran et al. 2024).
    output: what the decoder's last layer is followed by; `auto` is `sigmoid` where all data lie in [0, 1].
    """

    kind: Literal["mlp"] = "mlp"
    hidden: Layers = (400,)
    activation: Activation = "relu"
    output: Output = "auto"


class Conv(_Model):
    """Convolutions of stride 2 with GroupNorm, one fully connected layer each side, mirrored decoder.

    channels: of each stage; every stage halves height and width. hidden: units of the fully connected layer.
    groups: of each GroupNorm, at most (Wu & He 2018). activation: as of the mlp.
    output: what the decoder's last layer is followed by; `auto` is `sigmoid` where all data lie in [0, 1].
    """

    kind: Literal["conv"] = "conv"
    channels: Layers = (32, 64)
    hidden: Count = 256
    groups: Count = 8
    activation: Activation = "relu"
    output: Output = "auto"


class LinearVae(_Model):
    """Affine encoder mean, one variance per latent, affine decoder: the model with closed forms (probabilistic PCA)."""

    kind: Literal["linear-vae"] = "linear-vae"
    output: ClassVar[Output] = "identity"


class UserModel(_Model):
    """What a function of the user's makes: `factory(shape, latent_dim, **kwargs)` returns a `torch.nn.Module` with

    - `encode(x [B, *shape]) → (mean, log_variance)`, each [B, latent_dim],
    - `decode(z [B, latent_dim]) → [B, *shape] or [B, D]`, before the sigmoid where the output has one: logits.

    Parameters named `encoder.…` and `decoder.…` follow `lr.encoder` and `lr.decoder`. Examples must not influence each
    other and two calls must agree: no batch normalisation and no dropout.

    kind: `package.module:factory`, found in the working directory or installed. kwargs: passed on by name, as they
        are: YAML reads `1e-4` as a word, `1.0e-4` is a number.
    output: what the decoder's last layer is followed by; `auto` is `sigmoid` where all data lie in [0, 1].
    """

    kind: Annotated[str, AfterValidator(_factory)]
    kwargs: Annotated[dict[str, Any], AfterValidator(_arguments)] = Field(default_factory=dict)
    output: Output = "auto"


def _tag(section: Any) -> Any:
    kind = section.get("kind") if isinstance(section, Mapping) else getattr(section, "kind", None)
    return USER_MODEL if is_user_kind(kind) else kind


ModelConfig = Annotated[
    Annotated[Mlp, Tag("mlp")]
    | Annotated[Conv, Tag("conv")]
    | Annotated[LinearVae, Tag("linear-vae")]
    | Annotated[UserModel, Tag(USER_MODEL)],
    Discriminator(_tag),
]
