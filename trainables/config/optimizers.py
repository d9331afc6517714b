"""The optimisers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainables.config.values import NonNegative, Number, Optional, Positive, Section

__all__ = ["Adam", "AdamW", "OptimizerConfig", "RAdam", "Sgd"]


class _Optimizer(Section):
    """clip_norm bounds the global gradient norm, clip_value each element, after it; `none` for off."""

    clip_norm: Annotated[Positive | None, Optional] = None
    clip_value: Annotated[Positive | None, Optional] = None


class _Adaptive(_Optimizer):
    beta1: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[Number, Field(ge=0, lt=1)] = 0.999
    eps: Positive = 1e-8


class Adam(_Adaptive):
    """Adam (Kingma & Ba 2015)."""

    kind: Literal["adam"] = "adam"


class AdamW(_Adaptive):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = 0.01


class RAdam(_Adaptive):
    """Adam whose step is rectified while the variance of its second moment is large (Liu et al. 2020)."""

    kind: Literal["radam"] = "radam"


class Sgd(_Optimizer):
    """Stochastic gradient descent with momentum (Polyak 1964) and weight decay added to the gradient."""

    kind: Literal["sgd"] = "sgd"
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 0.0


OptimizerConfig = Annotated[Adam | AdamW | RAdam | Sgd, Field(discriminator="kind")]
