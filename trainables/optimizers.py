"""Adam, AdamW, RAdam and SGD as pure updates, and the same updates in place through torch's fused kernels.

`update` works under `torch.func.vmap`, so members with different learning rates share a step; `update_in_place` is what
a single trial uses. A test holds both equal, and both equal to torch's own but for two things: RAdam's first steps are
bounded, and weight decay leaves parameters of at most one axis alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from trainables.config.optimizers import Adam, AdamW, OptimizerConfig, RAdam, Sgd

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


# --- weight decay -----------------------------------------------------------------------------------------------------


def is_decayed(value: Tensor) -> bool:
    """Whether weight decay pulls at a parameter: at one of two axes or more (matrices, kernels).

    What has at most one axis is a bias, the gain of a norm, or a scale: a log-variance or a learned σ, for which 0 is
    a statement about the data and no neutral place.
    """
    return value.ndim > 1


def _decay(config: OptimizerConfig, value: Tensor) -> float:
    return config.weight_decay if isinstance(config, AdamW | Sgd) and is_decayed(value) else 0.0


# --- pure -------------------------------------------------------------------------------------------------------------


def update(
    config: OptimizerConfig,
    params: Params,
    gradients: list[Tensor],
    state: OptimizerState,
    lr: Tensor | float,
    groups: LrGroups = ONE_GROUP,
) -> tuple[Params, OptimizerState]:
    """One step against the gradients, which come in the order of the parameters: θ ← θ − lr·wd·θ − lr·direction.

    wd is the decoupled weight decay of AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101), 0 under the others and for
    parameters that are not decayed.
    """
    new = OptimizerState({}, {}, {name: count + 1 for name, count in state.count.items()})
    corrections = None if isinstance(config, Sgd) else _corrections(config, next(iter(new.count.values())))
    moved: Params = {}
    for (name, value), gradient in zip(params.items(), gradients, strict=True):
        rate, decay = lr * groups.factor(name), _decay(config, value)
        if isinstance(config, Sgd):
            moved[name] = value - rate * _sgd_direction(config, name, gradient + decay * value, state, new)
        else:
            assert corrections is not None
            direction = _adaptive_direction(config, name, gradient, corrections, state, new)
            moved[name] = value * (1 - rate * decay) - rate * direction
    return moved, new


def _sgd_direction(config: Sgd, name: str, gradient: Tensor, state: OptimizerState, new: OptimizerState) -> Tensor:
    """m ← μ·m + g (Polyak 1964), g with its weight decay; writes m to the new state."""
    if not config.momentum:
        return gradient
    direction = new.first[name] = config.momentum * state.first[name] + gradient
    return direction


class _Corrections(NamedTuple):
    """What the count of updates alone makes of the moments.

    first, second: 1 − β₁ᵗ and 1 − β₂ᵗ. rectification: RAdam's r, 0 while its step is not rectified; None under the
    others.
    """

    first: Tensor
    second: Tensor
    rectification: Tensor | None


def _corrections(config: Adam | AdamW | RAdam, count: Tensor) -> _Corrections:
    """Taken in float64, because five digits cancel where β is near 1; count: t, the same for all parameters."""
    t = count.double()
    first, second = 1 - config.beta1**t, 1 - config.beta2**t
    return _Corrections(first, second, _rectification(config.beta2, t, second) if isinstance(config, RAdam) else None)


def _rectification(beta2: float, t: Tensor, correction: Tensor) -> Tensor:
    """r where more than 5 gradients stand behind v, else 0 (Liu et al. 2020, arXiv 1908.03265).

    ρ∞ = 2/(1 − β₂) − 1;  ρ = ρ∞ − 2tβ₂ᵗ/(1 − β₂ᵗ);  r² = (ρ − 4)(ρ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρ)
    """
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * t * (1 - correction) / correction
    squared = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return torch.where(length > 5, squared.clamp(min=0).sqrt(), torch.zeros_like(t))


def _adaptive_direction(
    config: Adam | AdamW | RAdam,
    name: str,
    gradient: Tensor,
    corrections: _Corrections,
    state: OptimizerState,
    new: OptimizerState,
) -> Tensor:
    """Adam's m̂/(√v̂ + ε) (Kingma & Ba 2015, arXiv 1412.6980), or RAdam's; writes m and v to the new state.

    m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  m̂ = m/(1 − β₁ᵗ);  v̂ = v/(1 − β₂ᵗ)

    RAdam: r·m̂·√(1 − β₂ᵗ)/(√v + ε) once it is rectified; before that m̂ within [−1, 1] per element. Liu et al. and
    torch take m̂ as it is, in the unit of the gradients: our losses are sums over pixels, and five such steps throw a
    model of 12,288 pixels out of all numbers. Within the bound nothing differs; beyond it the step is of size lr, as
    Adam's first.
    """
    first = new.first[name] = config.beta1 * state.first[name] + (1 - config.beta1) * gradient
    second = new.second[name] = config.beta2 * state.second[name] + (1 - config.beta2) * gradient.square()
    corrected = first / corrections.first.to(first.dtype)
    if corrections.rectification is None:
        return corrected / ((second / corrections.second.to(second.dtype)).sqrt() + config.eps)
    r = corrections.rectification.to(first.dtype)
    rectified = corrected * (r * (corrections.second.sqrt().to(second.dtype) / (second.sqrt() + config.eps)))
    return torch.where(r > 0, rectified, corrected.clamp(-1.0, 1.0))


# --- in place ---------------------------------------------------------------------------------------------------------


def update_in_place(
    config: OptimizerConfig,
    params: Params,
    gradients: list[Tensor],
    state: OptimizerState,
    lr: float,
    groups: LrGroups = ONE_GROUP,
) -> None:
    """The same step, written into `params` and `state`: by torch's fused kernels, one call for each rate and decay
    there is; RAdam, whose bound torch does not have, by `update`.
    """
    if isinstance(config, RAdam):
        _copy_step(params, state, *update(config, params, gradients, state, lr, groups))
        return
    kinds = [(groups.factor(name), _decay(config, value)) for name, value in params.items()]
    for kind in set(kinds):
        names = [name for name, own in zip(params, kinds, strict=True) if own == kind]
        _step_in_place(
            config,
            [params[name] for name in names],
            [gradient for gradient, own in zip(gradients, kinds, strict=True) if own == kind],
            [[moments[name] for name in names if name in moments] for moments in (state.first, state.second)],
            [state.count[name] for name in names if name in state.count],
            lr * kind[0],
            kind[1],
        )


def _copy_step(params: Params, state: OptimizerState, moved: Params, new: OptimizerState) -> None:
    for name, value in moved.items():
        params[name].copy_(value)
    state.first, state.second, state.count = new.first, new.second, new.count


def _step_in_place(
    config: Adam | AdamW | Sgd,
    params: list[Tensor],
    gradients: list[Tensor],
    moments: list[list[Tensor]],
    count: list[Tensor],
    lr: float,
    weight_decay: float,
) -> None:
    first, second = moments
    if isinstance(config, Sgd):
        sgd(
            params,
            gradients,
            [*first] or [None] * len(params),
            fused=True,
            weight_decay=weight_decay,
            momentum=config.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )
        return
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
        weight_decay=weight_decay,
        eps=config.eps,
        maximize=False,
    )
