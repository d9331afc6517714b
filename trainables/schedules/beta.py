"""β, and the pixel σ that is annealed in its place under GQN's schedule."""

from __future__ import annotations

import numpy as np

from trainables.config import (
    BetaConfig,
    ConstantBeta,
    CosineBeta,
    CosineWaveBeta,
    CyclicalBeta,
    GqnBeta,
    LinearBeta,
    SigmoidBeta,
    TanhBeta,
    TriangularWaveBeta,
    steps_of,
)
from trainables.schedules.curves import (
    Curve,
    cosine_ramp,
    cosine_wave,
    exact_length,
    linear_ramp,
    position,
    sigmoid_ramp,
    tanh_ramp,
    triangular_wave,
)

__all__ = ["beta_at", "sigma_factor_at"]


def beta_at(config: BetaConfig, steps: Curve, total_steps: int) -> Curve:
    """β at each step; under `gqn` the β that weighs as its σ does, (σ_t/σ)²."""
    match config:
        case GqnBeta():
            return np.square(sigma_factor_at(config, steps, total_steps))
        case ConstantBeta():
            height = np.ones(len(steps))
        case LinearBeta() | SigmoidBeta() | TanhBeta() | CosineBeta():
            height = _ramp(config, position(steps, steps_of(config.warmup, total_steps)))
        case CyclicalBeta():
            height = _cycles(config, steps, total_steps)
        case CosineWaveBeta():
            height = cosine_wave(steps / exact_length(config.period, total_steps))
        case TriangularWaveBeta():
            height = triangular_wave(steps / exact_length(config.period, total_steps))
    return config.end * height


def sigma_factor_at(config: BetaConfig | None, steps: Curve, total_steps: int) -> Curve:
    """σ_t/σ, the pixel σ of each step in units of the final one: from `start` to 1 along a line, else 1 throughout.

    Eslami et al. 2018, as used by Rezende & Viola 2018, arXiv 1810.00597.
    """
    if not isinstance(config, GqnBeta):
        return np.ones(len(steps))
    return config.start + (1 - config.start) * linear_ramp(position(steps, steps_of(config.warmup, total_steps)))


def _ramp(config: LinearBeta | SigmoidBeta | TanhBeta | CosineBeta, u: Curve) -> Curve:
    match config:
        case LinearBeta():
            return linear_ramp(u)
        case SigmoidBeta():
            return sigmoid_ramp(u, config.steepness)
        case TanhBeta():
            return tanh_ramp(u)
        case CosineBeta():
            return cosine_ramp(u)


def _cycles(config: CyclicalBeta, steps: Curve, total_steps: int) -> Curve:
    """ramp(τ/R) with τ = (t mod P)/P, the position in the period P (Fu et al. 2019, arXiv 1903.10145)."""
    period = exact_length(config.period, total_steps)
    u = position(np.mod(steps, period), config.ratio * period)
    match config.shape:
        case "linear":
            return linear_ramp(u)
        case "sigmoid":
            return sigmoid_ramp(u, SigmoidBeta().steepness)
        case "cosine":
            return cosine_ramp(u)
