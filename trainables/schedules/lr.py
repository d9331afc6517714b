"""The learning rate: a curve of its kind, scaled by the batch size, after a gradual warm-up."""

from __future__ import annotations

import math

import numpy as np

from trainables.config import (
    ClrLr,
    ConstantLr,
    CosineWaveLr,
    ExponentialLr,
    InverseSqrtLr,
    LinearWaveLr,
    LrConfig,
    OneCycleLr,
    StepLr,
    steps_of,
)
from trainables.schedules.curves import (
    Curve,
    cosine_ramp,
    cosine_wave,
    exact_length,
    linear_ramp,
    position,
    triangular_wave,
)

__all__ = [
    "SCALING_NAMES",
    "batch_size_factor",
    "lr_at",
    "rate_in_use",
    "scaled_by",
    "scaling_factor",
    "scaling_of",
]

SCALING_NAMES = {"linear": "linear", "sqrt": "square-root", "none": "no"}


def batch_size_factor(config: LrConfig, batch_size: int) -> float:
    """What the batch size does to every learning rate."""
    return scaling_factor(config.scaling, batch_size / config.base_batch_size)


def scaling_of(scaling: str) -> str:
    """The rule that is meant: `auto` is the root, which lost least where it was measured, under Adam and under SGD
    (docs/learning-rates.md).
    """
    return "sqrt" if scaling == "auto" else scaling


def scaling_factor(scaling: str, k: float) -> float:
    """k, √k or 1, where batches are k times the size that rates are stated for.

    Linear scaling: Goyal et al. 2017, arXiv 1706.02677; square root, for Adam: Malladi et al. 2022, arXiv 2205.10287.
    """
    return {"linear": k, "sqrt": math.sqrt(k), "none": 1.0}[scaling_of(scaling)]


def rate_in_use(config: LrConfig, batch_size: int) -> str | None:
    """What a schedule's rates come to, in words, where they are not as written; None where they are.

    "learning rate 0.008 = lr.base 0.001 × 8 (linear scaling, batch 256 over base batch 32)"
    """
    scaled = scaled_by(config, batch_size)
    if not scaled:
        return None
    factor = batch_size_factor(config, batch_size)
    written = {path: getattr(config, path) for path in ("base", "max") if hasattr(config, path)}
    used = " to ".join(f"{factor * value:.3g}" for value in written.values())
    stated = " to ".join(f"lr.{path} {value:g}" for path, value in written.items())
    top = "up to " if "base" not in written else ""
    return f"learning rate {top}{used} = {stated}{scaled}"


def scaled_by(config: LrConfig, batch_size: int) -> str:
    """What written rates are multiplied by, in words: " × 8 (linear scaling, batch 256 over base batch 32)"; empty
    where they are used as they are.
    """
    factor = batch_size_factor(config, batch_size)
    sides = {"encoder": config.encoder, "decoder": config.decoder}
    own = "".join(f", × {value:g} in the {side}" for side, value in sides.items() if value != 1)
    sizes = f"batch {batch_size} over base batch {config.base_batch_size}"
    rule = f" × {factor:.3g} ({SCALING_NAMES[scaling_of(config.scaling)]} scaling, {sizes})" if factor != 1 else ""
    return f"{rule}{own}"


def lr_at(config: LrConfig, steps: Curve, total_steps: int, batch_size: int) -> Curve:
    """The learning rate at each step: the kind's curve, scaled by the batch size, after a gradual warm-up.

    The warm-up starts from the unscaled rate where scaling raises it (Goyal et al. 2017), else from 0.
    """
    factor = batch_size_factor(config, batch_size)
    start = 1 / factor if factor > 1 else 0.0
    rise = start + (1 - start) * linear_ramp(position(steps, steps_of(config.warmup, total_steps)))
    return factor * rise * _lr_curve(config, steps, total_steps)


def _lr_curve(config: LrConfig, steps: Curve, total_steps: int) -> Curve:
    match config:
        case ConstantLr():
            return np.full(len(steps), config.base)
        case ClrLr():
            return _cyclical(config, steps, total_steps)
        case OneCycleLr():
            return _one_cycle(config, steps, total_steps)
        case LinearWaveLr():
            return _between(config, triangular_wave(steps / exact_length(config.period, total_steps)))
        case CosineWaveLr():
            return _between(config, cosine_wave(steps / exact_length(config.period, total_steps)))
        case InverseSqrtLr():
            return config.base / np.sqrt(1 + steps / exact_length(config.timescale, total_steps))
        case StepLr():
            return config.base * config.gamma ** np.floor(steps / steps_of(config.step_size, total_steps))
        case ExponentialLr():
            return config.base * config.final ** (steps / total_steps)


def _between(config: ClrLr | LinearWaveLr | CosineWaveLr, height: Curve) -> Curve:
    """base at height 0, max at height 1."""
    return config.base + (config.max - config.base) * height


def _cyclical(config: ClrLr, steps: Curve, total_steps: int) -> Curve:
    """base + (max − base)·scale·max(0, 1 − |t/s − 2c + 1|), c = ⌊1 + t/2s⌋ (Smith 2015, arXiv 1506.01186).

    scale: 1 (triangular), 2^−(c − 1) (triangular2), γ^t (exp-range).
    """
    cycles = steps / (2 * exact_length(config.step_size, total_steps))
    match config.mode:
        case "triangular":
            scale = np.ones(len(steps))
        case "triangular2":
            scale = 0.5 ** np.floor(cycles)
        case "exp-range":
            scale = config.gamma**steps
    return _between(config, scale * triangular_wave(cycles))


def _one_cycle(config: OneCycleLr, steps: Curve, total_steps: int) -> Curve:
    """Cosine from max/div to max at pct_start·T − 1, then to max/div/final_div at T − 1 (Smith & Topin 2018)."""
    first, last = config.max / config.div, config.max / config.div / config.final_div
    top = config.pct_start * total_steps - 1
    rising = first + (config.max - first) * cosine_ramp(position(steps, top))
    falling = config.max + (last - config.max) * cosine_ramp(np.maximum(0.0, steps - top) / (total_steps - 1 - top))
    return np.where(steps <= top, rising, falling)
