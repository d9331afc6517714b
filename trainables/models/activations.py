"""The activation functions, by the name they have in a configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from trainables.elementwise import softplus

SHARPNESS = 5.0
HIDDEN_BOUNDS = (0.0, 50.0)
MEAN_BOUNDS = (-50.0, 50.0)
LOG_VARIANCE_BOUNDS = (-20.0, 20.0)


def soft_clip(x: Tensor, low: float, high: float, sharpness: float = SHARPNESS) -> Tensor:
    """s₁ + (1/s)·ln[(1 + e^{s(x−s₁)}) / (1 + e^{s(x−s₂)})]: generalised soft clipping to (s₁, s₂) = (low, high).

    Computed as a difference of softplus. 1-Lipschitz with |f''| ≤ s/4, s = sharpness; the hard clip as s → ∞.
    Surendran, Godichon-Baggioni & Le Corff 2024, arXiv 2410.16750.
    """
    return low + softplus(x - low, sharpness) - softplus(x - high, sharpness)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "softplus": softplus,
    "soft-clip": partial(soft_clip, low=HIDDEN_BOUNDS[0], high=HIDDEN_BOUNDS[1]),
}


def bounded_heads(activation: str, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
    """The encoder's mean and log-variance as its activation wants them: `soft-clip` bounds both."""
    if activation != "soft-clip":
        return mean, log_variance
    return soft_clip(mean, *MEAN_BOUNDS), soft_clip(log_variance, *LOG_VARIANCE_BOUNDS)
