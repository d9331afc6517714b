"""The optimisers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trainables.values import NonNegative, Number, Optional, Positive, Section


class _Optimizer(Section):
    """clip_norm: bounds the global gradient norm; `none` for off.

    clip_value: bounds each element of the gradient, after clip_norm; `none` for off.
    """

    scale_free: ClassVar[bool] = True
    """Whether its steps stay the same when all losses are multiplied by a number."""
    settling: ClassVar[int] = 1
    """How many times as many updates as under Adam GECO's λ takes to settle."""

    clip_norm: Annotated[Positive | None, Optional] = None
    clip_value: Annotated[Positive | None, Optional] = None


class _Adaptive(_Optimizer):
    """beta1, beta2: decay of the averages of the gradient and of its square. eps: added to the root of the latter."""

    beta1: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[Number, Field(ge=0, lt=1)] = 0.999
    eps: Positive = 1e-8


class Adam(_Adaptive):
    """Adam (Kingma & Ba 2015)."""

    kind: Literal["adam"] = "adam"


class AdamW(_Adaptive):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019) of all parameters with two axes or more.

    Biases, gains of norms and scales (a log-variance, a learned σ) are left alone.

    weight_decay: the share of a weight that a step takes away, times the learning rate.
    """

    kind: Literal["adamw"] = "adamw"
    weight_decay: NonNegative = 0.01


class RAdam(_Adaptive):
    """Adam whose step is rectified while the variance of its second moment is large (Liu et al. 2020).

    Its first steps, which are not, are at most the learning rate per element; torch's are not bounded.
    """

    scale_free = False
    kind: Literal["radam"] = "radam"


class Sgd(_Optimizer):
    """Stochastic gradient descent with momentum (Polyak 1964).

    momentum: decay of the sum of past gradients.
    weight_decay: a weight times this is added to its gradient, for the parameters that AdamW decays.
    """

    scale_free = False
    settling = 2
    kind: Literal["sgd"] = "sgd"
    momentum: Annotated[Number, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 0.0


OptimizerConfig = Annotated[Adam | AdamW | RAdam | Sgd, Field(discriminator="kind")]
