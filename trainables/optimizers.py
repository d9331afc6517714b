"""Adam, AdamW, RAdam and SGD as pure updates, and the same updates in place through torch's fused kernels.

`update` works under `torch.func.vmap`, so members with different learning rates share a step; `update_in_place` is what
a single trial uses. A test holds both equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.radam import radam
from torch.optim.sgd import sgd

from trainables.config import Adam, AdamW, OptimizerConfig, RAdam, Sgd

__all__ = [
    "LrGroups",
    "OptimizerState",
    "clip_by_norm",
    "clipped",
    "global_norm",
    "init",
    "update",
    "update_in_place",
]

Params = dict[str, Tensor]


@dataclass
class OptimizerState:
    """First and second moments of each parameter, and the count of updates (one tensor a parameter, as torch wants).

    What an optimiser does without is empty: SGD has no second moments and no count, without momentum no first either.
    """

    first: Params
    second: Params
    count: Params


class LrGroups(NamedTuple):
    """What the learning rate is multiplied by for the parameters of each half of the model."""

    encoder: float = 1.0
    decoder: float = 1.0

    def factor(self, name: str) -> float:
        """The factor of a parameter; what the likelihood learns belongs to the decoder."""
        if name.startswith("encoder."):
            return self.encoder
        return self.decoder if name.startswith(("decoder.", "likelihood.")) else 1.0


ONE_GROUP = LrGroups()


def init(config: OptimizerConfig, params: Mapping[str, Tensor]) -> OptimizerState:
    """Zero moments."""
    zeros = {name: torch.zeros_like(value) for name, value in params.items()}
    if isinstance(config, Sgd):
        return OptimizerState(zeros if config.momentum else {}, {}, {})
    second = {name: torch.zeros_like(value) for name, value in params.items()}
    return OptimizerState(zeros, second, {name: torch.zeros((), device=value.device) for name, value in params.items()})


# --- clipping ---------------------------------------------------------------------------------------------------------


def global_norm(gradients: list[Tensor]) -> Tensor:
    """√Σ|g|² over all parameters."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    return norm


def clip_by_norm(gradients: list[Tensor], norm: Tensor, bound: float) -> list[Tensor]:
    """Scale gradients so that their global norm is at most `bound`."""
    scale = (bound / (norm + 1e-6)).clamp(max=1.0)
    return [gradient * scale for gradient in gradients]


def clipped(config: OptimizerConfig, gradients: list[Tensor], norm: Tensor) -> list[Tensor]:
    """Gradients within the configured bounds: first on their global norm, which is given, then on each element."""
    if config.clip_norm is not None:
        gradients = clip_by_norm(gradients, norm, config.clip_norm)
    if config.clip_value is not None:
        bound = config.clip_value
        gradients = [gradient.clamp(-bound, bound) for gradient in gradients]
    return gradients


# --- pure -------------------------------------------------------------------------------------------------------------


def update(
    config: OptimizerConfig,
    params: Params,
    gradients: list[Tensor],
    state: OptimizerState,
    lr: Tensor,
    groups: LrGroups = ONE_GROUP,
) -> tuple[Params, OptimizerState]:
    """One step against the gradients, which come in the order of the parameters: θ ← θ − lr·wd·θ − lr·direction.

    wd is the decoupled weight decay of AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), 0 under the others.
    """
    decay = config.weight_decay if isinstance(config, AdamW) else 0.0
    new = OptimizerState({}, {}, {})
    moved: Params = {}
    for (name, value), gradient in zip(params.items(), gradients, strict=True):
        if isinstance(config, Sgd):
            direction = _sgd_direction(config, name, value, gradient, state, new)
        else:
            direction = _adaptive_direction(config, name, gradient, state, new)
        rate = lr * groups.factor(name)
        moved[name] = value * (1 - rate * decay) - rate * direction
    return moved, new


def _sgd_direction(
    config: Sgd, name: str, value: Tensor, gradient: Tensor, state: OptimizerState, new: OptimizerState
) -> Tensor:
    """m ← μ·m + g + wd·θ (Polyak 1964); writes m to the new state."""
    direction = gradient + config.weight_decay * value
    if config.momentum:
        direction = new.first[name] = config.momentum * state.first[name] + direction
    return direction


def _adaptive_direction(
    config: Adam | AdamW | RAdam, name: str, gradient: Tensor, state: OptimizerState, new: OptimizerState
) -> Tensor:
    """Adam's m̂/(√v̂ + ε) (Kingma & Ba 2015, arXiv 1412.6980), or RAdam's; writes m, v and t to the new state.

    m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  m̂ = m/(1 − β₁ᵗ);  v̂ = v/(1 − β₂ᵗ)
    """
    count = new.count[name] = state.count[name] + 1
    first = new.first[name] = config.beta1 * state.first[name] + (1 - config.beta1) * gradient
    second = new.second[name] = config.beta2 * state.second[name] + (1 - config.beta2) * gradient.square()
    corrected = first / _bias_correction(config.beta1, count).to(first.dtype)
    correction = _bias_correction(config.beta2, count)
    if isinstance(config, RAdam):
        scale = correction.sqrt().to(second.dtype) / (second.sqrt() + config.eps)
        return corrected * _rectified(config.beta2, count, scale)
    return corrected / ((second / correction.to(second.dtype)).sqrt() + config.eps)


def _bias_correction(beta: float, count: Tensor) -> Tensor:
    """1 − βᵗ; taken in float64 because five digits cancel where β is near 1."""
    return 1 - beta ** count.double()


def _rectified(beta2: float, count: Tensor, scale: Tensor) -> Tensor:
    """r·scale where more than 5 gradients stand behind v, else 1 (Liu et al. 2020, arXiv 1908.03265).

    ρ∞ = 2/(1 − β₂) − 1;  ρ = ρ∞ − 2tβ₂ᵗ/(1 − β₂ᵗ);  r² = (ρ − 4)(ρ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρ)
    """
    longest = 2 / (1 - beta2) - 1
    correction = _bias_correction(beta2, count)
    length = longest - 2 * count.double() * (1 - correction) / correction
    squared = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return torch.where(length > 5, squared.clamp(min=0).sqrt().to(scale.dtype) * scale, torch.ones_like(scale))


# --- in place ---------------------------------------------------------------------------------------------------------


def update_in_place(
    config: OptimizerConfig,
    params: Params,
    gradients: list[Tensor],
    state: OptimizerState,
    lr: float,
    groups: LrGroups = ONE_GROUP,
) -> None:
    """The same step, written into `params` and `state` by torch's kernels: one call for each rate there is."""
    factors = [groups.factor(name) for name in params]
    for factor in set(factors):
        names = [name for name, own in zip(params, factors, strict=True) if own == factor]
        _step_in_place(
            config,
            [params[name] for name in names],
            [gradient for gradient, own in zip(gradients, factors, strict=True) if own == factor],
            [[moments[name] for name in names if name in moments] for moments in (state.first, state.second)],
            [state.count[name] for name in names if name in state.count],
            lr * factor,
        )


def _step_in_place(
    config: OptimizerConfig,
    params: list[Tensor],
    gradients: list[Tensor],
    moments: list[list[Tensor]],
    count: list[Tensor],
    lr: float,
) -> None:
    first, second = moments
    match config:
        case Adam() | AdamW():
            adam(
                params,
                gradients,
                first,
                second,
                [],
                count,
                fused=True,
                decoupled_weight_decay=isinstance(config, AdamW),
                amsgrad=False,
                beta1=config.beta1,
                beta2=config.beta2,
                lr=lr,
                weight_decay=config.weight_decay if isinstance(config, AdamW) else 0.0,
                eps=config.eps,
                maximize=False,
            )
        case RAdam():
            radam(
                params,
                gradients,
                first,
                second,
                count,
                foreach=True,
                capturable=count[0].device.type != "cpu",  # else torch reads the count back at every step
                beta1=config.beta1,
                beta2=config.beta2,
                lr=lr,
                weight_decay=0.0,
                eps=config.eps,
            )
        case Sgd():
            sgd(
                params,
                gradients,
                [*first] or [None] * len(params),
                fused=True,
                weight_decay=config.weight_decay,
                momentum=config.momentum,
                lr=lr,
                dampening=0.0,
                nesterov=False,
                maximize=False,
            )
