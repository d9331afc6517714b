"""β and the learning rate as functions of the optimiser step.

Every schedule is a pure function of (configuration, steps, budget): `steps` is an array of step numbers 0 … T−1, the
result the value used IN that step. Durations up to 1 are fractions of the budget T.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trainables.config import (
    BetaConfig,
    ClrLr,
    ConstantBeta,
    ConstantLr,
    CyclicalBeta,
    LinearBeta,
    LrConfig,
    OneCycleLr,
    steps_of,
)

__all__ = ["batch_size_factor", "beta_at", "lr_at"]

Curve = NDArray[np.float64]


def beta_at(config: BetaConfig, steps: Curve, total_steps: int) -> Curve:
    """β at each step."""
    match config:
        case ConstantBeta():
            return np.full(len(steps), config.end)
        case LinearBeta():
            return config.end * _ramp(steps, steps_of(config.warmup, total_steps))
        case CyclicalBeta():
            return _cyclical(config, steps, total_steps)


def _ramp(steps: Curve, length: float) -> Curve:
    """0 at step 0, 1 from step `length` on."""
    return np.minimum(1.0, steps / length) if length > 0 else np.ones(len(steps))


def _cyclical(config: CyclicalBeta, steps: Curve, total_steps: int) -> Curve:
    """β = end·min(1, τ/R) with τ = (t mod P)/P, the position in the period P (Fu et al. 2019, arXiv 1903.10145)."""
    period = _length(config.period, total_steps)
    return config.end * _ramp(np.mod(steps, period), config.ratio * period)


def _length(duration: float | str, total_steps: int) -> float:
    """A cycle's length in steps, not rounded, so that fractions of the budget stay exact."""
    return duration * total_steps if isinstance(duration, float) else float(steps_of(duration, total_steps))


def batch_size_factor(config: LrConfig, batch_size: int) -> float:
    """What the batch size does to every learning rate: ×k, ×√k or nothing, k = batch_size / base_batch_size.

    Linear scaling: Goyal et al. 2017, arXiv 1706.02677; square root, for Adam: Malladi et al. 2022, arXiv 2205.10287.
    """
    k = batch_size / config.base_batch_size
    factors = {"linear": k, "sqrt": math.sqrt(k), "none": 1.0}
    return factors[config.scaling]


def lr_at(config: LrConfig, steps: Curve, total_steps: int, batch_size: int) -> Curve:
    """The learning rate at each step: the kind's curve, scaled by the batch size, after a gradual warm-up.

    The warm-up starts from the unscaled rate where scaling raises it (Goyal et al. 2017), else from 0.
    """
    factor = batch_size_factor(config, batch_size)
    start = 1 / factor if factor > 1 else 0.0
    rise = start + (1 - start) * _ramp(steps, steps_of(config.warmup, total_steps))
    return factor * rise * _lr_curve(config, steps, total_steps)


def _lr_curve(config: LrConfig, steps: Curve, total_steps: int) -> Curve:
    match config:
        case ConstantLr():
            return np.full(len(steps), config.base)
        case ClrLr():
            return _triangular(config, steps, total_steps)
        case OneCycleLr():
            return _one_cycle(config, steps, total_steps)


def _triangular(config: ClrLr, steps: Curve, total_steps: int) -> Curve:
    """base + (max − base)·max(0, 1 − x), x = |t/s − 2c + 1|, c = ⌊1 + t/2s⌋ (Smith 2015, arXiv 1506.01186)."""
    half = _length(config.step_size, total_steps)
    cycle = np.floor(1 + steps / (2 * half))
    distance = np.abs(steps / half - 2 * cycle + 1)
    curve: Curve = config.base + (config.max - config.base) * np.maximum(0.0, 1 - distance)
    return curve


def _one_cycle(config: OneCycleLr, steps: Curve, total_steps: int) -> Curve:
    """Cosine from max/div to max at pct_start·T − 1, then to max/div/final_div at T − 1 (Smith & Topin 2018)."""
    first, last = config.max / config.div, config.max / config.div / config.final_div
    top = config.pct_start * total_steps - 1
    rising = _cosine(first, config.max, steps / top if top > 0 else np.ones(len(steps)))
    falling = _cosine(config.max, last, (steps - top) / (total_steps - 1 - top))
    return np.where(steps <= top, rising, falling)


def _cosine(start: float, end: float, position: Curve) -> Curve:
    """From start at position 0 to end at position 1 along half a cosine."""
    curve: Curve = end + (start - end) / 2 * (1 + np.cos(np.pi * np.clip(position, 0.0, 1.0)))
    return curve
