"""Adam and AdamW as pure updates, and the same updates in place through torch's fused kernels.

`update` works under `torch.func.vmap`, so members with different learning rates share a step; `update_in_place` is what
a single trial uses. A test holds both equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam

from trainables.config import AdamW, OptimizerConfig

__all__ = ["OptimizerState", "clip_by_norm", "global_norm", "init", "update", "update_in_place"]

Params = dict[str, Tensor]


@dataclass
class OptimizerState:
    """First and second moments of each parameter, and the count of updates (one tensor a parameter, as torch wants)."""

    first: Params
    second: Params
    count: Params


def init(params: Mapping[str, Tensor]) -> OptimizerState:
    """Zero moments."""
    return OptimizerState(
        {name: torch.zeros_like(value) for name, value in params.items()},
        {name: torch.zeros_like(value) for name, value in params.items()},
        {name: torch.zeros((), device=value.device) for name, value in params.items()},
    )


def global_norm(gradients: list[Tensor]) -> Tensor:
    """√Σ|g|² over all parameters."""
    norm: Tensor = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    return norm


def clip_by_norm(gradients: list[Tensor], norm: Tensor, bound: float) -> list[Tensor]:
    """Scale gradients so that their global norm is at most `bound`."""
    scale = (bound / (norm + 1e-6)).clamp(max=1.0)
    return [gradient * scale for gradient in gradients]


def update(
    config: OptimizerConfig, params: Params, gradients: list[Tensor], state: OptimizerState, lr: Tensor
) -> tuple[Params, OptimizerState]:
    """One step of Adam (Kingma & Ba 2015, arXiv 1412.6980) or AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101).

        m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  θ ← θ − lr·wd·θ − lr·m̂/(√v̂ + ε)

    with the bias-corrected m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ); wd = 0 under Adam.
    """
    decay = config.weight_decay if isinstance(config, AdamW) else 0.0
    new = OptimizerState({}, {}, {})
    new_params: Params = {}
    for (name, value), gradient in zip(params.items(), gradients, strict=True):
        count = state.count[name] + 1
        first = config.beta1 * state.first[name] + (1 - config.beta1) * gradient
        second = config.beta2 * state.second[name] + (1 - config.beta2) * gradient.square()
        corrected = first / _bias_correction(config.beta1, count, first.dtype)
        scale = (second / _bias_correction(config.beta2, count, second.dtype)).sqrt() + config.eps
        new_params[name] = value * (1 - lr * decay) - lr * corrected / scale
        new.first[name], new.second[name], new.count[name] = first, second, count
    return new_params, new


def _bias_correction(beta: float, count: Tensor, dtype: torch.dtype) -> Tensor:
    """1 − βᵗ; taken in float64 because five digits cancel where β is near 1."""
    return (1 - beta ** count.double()).to(dtype)


def update_in_place(
    config: OptimizerConfig, params: Params, gradients: list[Tensor], state: OptimizerState, lr: float
) -> None:
    """The same step, written into `params` and `state` by torch's fused kernel."""
    adam(
        list(params.values()),
        gradients,
        list(state.first.values()),
        list(state.second.values()),
        [],
        list(state.count.values()),
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
